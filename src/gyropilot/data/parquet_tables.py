"""Reads Parquet files of plain columns of any type as text; the footer is checked as `parquet_files` does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gyropilot.data import parquet_files
from gyropilot.errors import Fault, InvalidData

Arrow = Any
"""A value of pyarrow's, which ships no types."""
_BATCH_ROWS = 2048
_BATCH_BYTES = 8 * 2**20
_MOST_NAMED = 10


def column_names(path: Path, uri: str) -> tuple[str, ...]:
    """Give the names of a file's columns, in its order.

    Raises:
        InvalidData: the file is no Parquet file, is cut, or has columns that are no plain values; with every fault.
    """
    metadata = parquet_files.read_metadata(path, uri)
    columns = [metadata.schema.column(index) for index in range(metadata.num_columns)]
    faults = []
    for name, kind in dict(filter(None, map(_unreadable, columns))).items():
        where = f"{uri}: column {name!r}"
        fix = "write it as a string column, or leave it out"
        faults.append(Fault(where=where, found=kind, problem="is no column of plain values", fix=fix))
    if faults:
        more = [Fault(where=uri, problem=f"{len(faults) - _MOST_NAMED} more columns are of such kinds")]
        raise InvalidData.of(faults[:_MOST_NAMED] + (more if len(faults) > _MOST_NAMED else []))
    return tuple(column.name for column in columns)


def text_batches(path: Path, uri: str) -> Iterator[list[Arrow]]:
    """Give the rows as string arrays, one a column in the file's order, a batch in memory at a time.

    Numbers are written so that they read back to the same value, times as ISO 8601, truth values as true and false.

    Raises:
        InvalidData: the file is cut or damaged, its footer lies, or text in it is not UTF-8.
    """
    metadata = parquet_files.read_metadata(path, uri)
    parquet_files.check_counts(metadata, path.stat().st_size, uri)
    names = [metadata.schema.column(index).name for index in range(metadata.num_columns)]
    largest = parquet_files.largest_unpacked(metadata, names, path, uri)
    with parquet_files.Reading(path, uri, metadata) as reading:
        rows_at_once = max(1, min(_BATCH_ROWS, _BATCH_BYTES // max(1, largest)))
        for batch in reading.file.iter_batches(batch_size=rows_at_once, use_threads=False):
            columns = [_text_of(batch.column(at), name, uri, reading.rows) for at, name in enumerate(names)]
            reading.count(rows=batch.num_rows, text=sum(one.nbytes for one in columns))
            yield columns


def _unreadable(column: Arrow) -> tuple[str, str] | None:
    """Give a column's name and what it holds, where that is no plain value."""
    if column.path != column.name or column.max_repetition_level:
        return column.path.split(".")[0], "a list, map or struct"
    logical = str(column.logical_type.type)
    is_text = logical in {"STRING", "ENUM", "JSON", "DECIMAL"} or column.converted_type == "UTF8"
    if column.physical_type == "BYTE_ARRAY" and not is_text:
        return column.name, "bytes without a text type"
    if column.physical_type == "FIXED_LEN_BYTE_ARRAY" and logical not in {"DECIMAL", "FLOAT16"}:
        return column.name, f"bytes of fixed length{'' if logical == 'NONE' else f' as {logical}'}"
    return None


def _text_of(values: Arrow, name: str, uri: str, before: int) -> Arrow:
    import pyarrow as pa

    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        _check_text(values, name, uri, before)
    return values.cast(pa.large_string())


def _check_text(values: Arrow, name: str, uri: str, before: int) -> None:
    import pyarrow as pa

    try:
        values.validate(full=True)
        if values.nbytes <= parquet_files.MAX_VALUE_BYTES:
            return
        problems = [
            (row, f"is longer than {parquet_files.MAX_VALUE_BYTES // 2**20} MiB", "shorten it")
            for row, size in enumerate(_byte_lengths(values))
            if size > parquet_files.MAX_VALUE_BYTES
        ]
    except pa.ArrowInvalid:
        row = next(at for at in range(len(values)) if not _is_utf8(values[at]))
        problems = [(row, "is not UTF-8", "write valid UTF-8")]
    for row, problem, fix in problems[:1]:
        raise InvalidData(where=f"{uri}: row {before + row + 1}, column {name!r}", problem=problem, fix=fix)


def _byte_lengths(values: Arrow) -> Sequence[int]:
    import pyarrow.compute as pc

    return [size or 0 for size in pc.binary_length(values).to_pylist()]


def _is_utf8(value: Arrow) -> bool:
    if not value.is_valid:
        return True
    try:
        str(value.as_buffer().to_pybytes(), "utf-8")
    except UnicodeDecodeError:
        return False
    return True
