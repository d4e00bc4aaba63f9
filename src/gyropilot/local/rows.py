"""Brings the rows of a Python call into one file that training reads, each checked on the way.

Rows are mappings, or objects with attributes: `input` and `output`, or `text` and `labels`, a text or a list of texts.
Or they are the path of a CSV or Parquet file. A stream is read once, and never held as a whole.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gyropilot.data import frames
from gyropilot.errors import Fault, InvalidData
from gyropilot.local import training
from gyropilot.local.training import ChannelType
from gyropilot.problems.contract import LocalChannel
from gyropilot.problems.text_generation.row_columns import PAIRS

if TYPE_CHECKING:  # it is imported where rows are written: a quarter of a second
    import pyarrow.parquet

Json = Any
_CHUNK = 1024
_MOST_FAULTS = 10
_LABELS = PAIRS[1][1]
_MISSING = object()


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The rows of one stream."""

    channel: LocalChannel
    columns: tuple[str, ...]


@dataclass
class _Reading:
    """One pass over a stream."""

    where: str
    task_column: str | None
    faults: list[Fault]
    columns: tuple[str, ...] = ()
    count: int = 0
    found: int = field(default=0)
    """Faults of rows."""


def rows_of(
    stream: object,
    folder: Path,
    *,
    where: str,
    channel_type: ChannelType,
    task_column: object,
    faults: list[Fault],
) -> Rows | None:
    """Give the rows of a stream as a channel; what is wrong goes to `faults`, and then it is None.

    Args:
        stream: What the caller gave.
        folder: Where the rows are written, unless they lie in a file.
        where: What the caller calls the parameter.
        channel_type: What they are for.
        task_column: The field that names each row's task, where the caller names one.
        faults: Gets what is wrong, the first ten rows of it.
    """
    column = task_column if isinstance(task_column, str) else None
    if isinstance(stream, str | os.PathLike):
        return _of_file(Path(stream).expanduser(), folder, column, where, channel_type, faults)
    if isinstance(stream, Mapping | bytes) or not isinstance(stream, Iterable):
        problem = f"is no stream of rows but a {type(stream).__name__}"
        fix = 'give a list of {"input": ..., "output": ...}, or the path of a CSV or Parquet file'
        faults.append(Fault(where=where, problem=problem, fix=fix))
        return None
    reading = _Reading(where, column, faults)
    file = folder / f"{channel_type}.parquet"
    _write(file, reading, stream)
    if not reading.count and not reading.found:
        faults.append(Fault(where=where, problem="holds no rows", fix="give one row or more"))
    if reading.found or not reading.count:
        return None
    return Rows(channel=training.channel(file, where=where, channel_type=channel_type), columns=reading.columns)


def _of_file(
    file: Path, folder: Path, task_column: str | None, where: str, channel_type: ChannelType, faults: list[Fault]
) -> Rows | None:
    if not file.is_file():
        fix = "give the path of a CSV or Parquet file"
        faults.append(Fault(where=where, found=str(file), problem="is no file", fix=fix))
        return None
    try:
        found = training.channel(_unpacked(file, folder, channel_type), where=where, channel_type=channel_type)
    except InvalidData as error:
        faults += error.faults
        return None
    columns = frames.column_names(found)
    fitting = _fitting(columns, task_column)
    if fitting is None or set(columns) != set(fitting):
        problem = f"has the columns {', '.join(columns[:20]) or 'of no table'}"
        faults.append(Fault(where=where, found=str(file), problem=problem, fix=f"it must have {_told(task_column)}"))
        return None
    return Rows(channel=found, columns=columns)


def _unpacked(file: Path, folder: Path, channel_type: ChannelType) -> Path:
    """Give the file itself, of a compressed one what it holds."""
    if not file.name.lower().endswith(".csv.gz"):
        return file
    plain = folder / f"{channel_type}.csv"
    try:
        with gzip.open(file) as packed, plain.open("wb") as out:
            shutil.copyfileobj(packed, out)
    except (OSError, EOFError) as error:
        fix = "compress it again with gzip"
        raise InvalidData(where=str(file), problem=f"cannot be unpacked: {error}", fix=fix) from error
    return plain


def _write(file: Path, reading: _Reading, stream: Iterable[object]) -> None:
    """Write the rows; the columns are those of the first row."""
    import pyarrow
    import pyarrow.parquet

    writer: pyarrow.parquet.ParquetWriter | None = None
    try:
        for rows in _chunks(_checked(reading, stream)):
            schema = pyarrow.schema([(name, pyarrow.string()) for name in reading.columns])
            writer = writer or pyarrow.parquet.ParquetWriter(file, schema)
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
    finally:
        if writer is not None:
            writer.close()


def _chunks(rows: Iterator[dict[str, str]]) -> Iterator[list[dict[str, str]]]:
    chunk: list[dict[str, str]] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _checked(reading: _Reading, stream: Iterable[object]) -> Iterator[dict[str, str]]:
    """Give the rows that are as they must be, until too many are not."""
    for number, row in enumerate(stream):
        where = f"{reading.where}[{number}]"
        if not reading.columns:
            columns = _fitting(_names_of(row), reading.task_column)
            fault = _unlike_rows(row, columns, reading.task_column, where)
            if columns is None or fault is not None:
                reading.faults += [] if fault is None else [fault]
                reading.found += 1
                return
            reading.columns = columns
        faults = list(_faults_of(row, reading.columns, where))
        reading.faults += faults
        reading.found += len(faults)
        if reading.found >= _MOST_FAULTS:
            return
        reading.count += 1
        if not reading.found:
            yield {name: _text(_value(row, name)) for name in reading.columns}


def _unlike_rows(row: object, columns: tuple[str, ...] | None, task_column: str | None, where: str) -> Fault | None:
    """Give the fault of a first row that has not the fields which all must have; the others are then like it."""
    fix = f"give {_told(task_column)}"
    if not isinstance(row, Mapping) and not _names_of(row):
        return Fault(where=where, problem=f"is no mapping: it is {_described(row)}", fix=fix)
    if columns is None:
        return Fault(where=where, problem=f"has not the fields of a row: it is {_described(row)}", fix=fix)
    if task_column and _value(row, task_column) is _MISSING:
        problem = f"is missing, and task_column names it: the row is {_described(row)}"
        return Fault(where=f"{where}.{task_column}", problem=problem, fix="give every row this field, or name another")
    return None


def _faults_of(row: object, columns: Sequence[str], where: str) -> Iterator[Fault]:
    if not isinstance(row, Mapping) and not _names_of(row):
        yield Fault(where=where, problem=f"is no mapping: it is {_described(row)}", fix=f"give {' and '.join(columns)}")
        return
    for name in columns:
        value = _value(row, name)
        if value is _MISSING:
            yield Fault(where=f"{where}.{name}", problem="is missing", fix="give every row the fields of the first")
        elif not _is_text(value) and not (name == _LABELS and _are_texts(value)):
            problem = "is no text" if name != _LABELS else "is neither a text nor a list of texts"
            yield Fault(where=f"{where}.{name}", found=value, problem=problem, fix="give a text")


def _fitting(names: Sequence[str], task_column: str | None) -> tuple[str, ...] | None:
    """Give the fields that a row must have, of those that it may have; None: it has neither pair of them."""
    pair = next((one for one in PAIRS if set(one) & set(names)), None)
    return None if pair is None else tuple(dict.fromkeys((*pair, *([task_column] if task_column else []))))


def _names_of(row: object) -> tuple[str, ...]:
    if isinstance(row, Mapping):
        return tuple(str(name) for name in row)
    return tuple(name for pair in PAIRS for name in pair if hasattr(row, name)) if not isinstance(row, str) else ()


def _value(row: object, name: str) -> object:
    return row.get(name, _MISSING) if isinstance(row, Mapping) else getattr(row, name, _MISSING)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(list(value) if isinstance(value, Iterable) else value)


def _is_text(value: object) -> bool:
    if not isinstance(value, str):
        return value is None
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _are_texts(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(one, str) and _is_text(one) for one in value)


def _described(row: object) -> str:
    if isinstance(row, Mapping):
        return f"a mapping of {', '.join(str(name) for name in list(row)[:10]) or 'nothing'}"
    return f"a {type(row).__name__}"


def _told(task_column: str | None) -> str:
    more = f", and {task_column}" if task_column else ""
    return f"{' and '.join(PAIRS[0])}{more}, or {' and '.join(PAIRS[1])}{more}"
