"""Reads Parquet files of text columns; the footer is checked by us before Arrow acts on it.

Arrow turns the footer's ARROW:schema entry into types, and a registered extension type may run code when it is made.
So the footer is parsed from a copy in which that entry has another key, its content is searched for extensions, and the
file is then opened with the metadata of that copy: Arrow never sees the entry. The footer's structs are counted before
Arrow makes objects of them, and pages measured before it unpacks them: what is read stays small whatever they claim.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gyropilot.data import kinds, parquet_pages, thrift
from gyropilot.data.columns import column_faults
from gyropilot.errors import Fault, InvalidData

MAX_FOOTER_BYTES = 16 * 2**20
MAX_FOOTER_STRUCTS = 200_000
"""Columns times row groups, and some more."""
MAX_ROW_GROUP_BYTES = 4 * 2**30
"""Decoded size that one row group may claim."""
MAX_VALUE_BYTES = 4 * 2**20
MAX_RATIO = 1000
"""How many times its size a file's text may have, beyond the first MAX_UNPACKED_BYTES."""
MAX_UNPACKED_BYTES = 64 * 2**20
Arrow = Any
"""A value of pyarrow's, which ships no types."""
_BATCH_ROWS = 256
_BATCH_BYTES = 8 * 2**20
"""Most that the values of a batch may take: of a dictionary each row may name the longest entry."""
END_BYTES = 8
"""What follows the footer: its length, and the magic number."""
_MAGIC = b"PAR1"
_SCHEMA_KEY = b"ARROW:schema"
_HIDDEN_KEY = b"HIDDEN:schem"
_EXTENSION_KEY = b"ARROW:extension:name"


def parquet_records(path: Path, uri: str, *, wanted: Sequence[str]) -> Iterator[tuple[int, list[str | None]]]:
    """Give (row number from 1, values in the order of `wanted`, None for null), a batch in memory at a time.

    Raises:
        InvalidData: the file is no Parquet file with exactly these columns as text, is cut, or its footer lies.
    """
    metadata = read_metadata(path, uri)
    _check_columns(metadata, wanted, uri)
    check_counts(metadata, path.stat().st_size, uri)
    largest = largest_unpacked(metadata, wanted, path, uri)
    with Reading(path, uri, metadata) as reading:
        rows_at_once = max(1, min(_BATCH_ROWS, _BATCH_BYTES // max(1, largest)))
        for batch in reading.file.iter_batches(batch_size=rows_at_once, columns=list(wanted), use_threads=False):
            for values in _rows_of(batch, wanted, uri, reading.rows):
                reading.count(rows=1, text=sum(len(value) for value in values if value))
                yield reading.rows, values


class Reading:
    """Opens a file's data within `with`, and counts what is read of it.

    Raises InvalidData at once where it becomes too large or Arrow finds it damaged, and at the end where it has other
    rows than its footer counts.
    """

    def __init__(self, path: Path, uri: str, metadata: Arrow) -> None:
        from pyarrow import parquet

        self._uri, self._metadata, self._size = uri, metadata, path.stat().st_size
        self.rows = self._text = 0
        self.file = parquet.ParquetFile(
            path, metadata=metadata, pre_buffer=False, buffer_size=2**20, page_checksum_verification=True
        )

    def __enter__(self) -> Reading:
        return self

    def count(self, *, rows: int, text: int) -> None:
        """Note that so many rows more were read, of so many characters."""
        self.rows += rows
        self._text += text
        if self._text > max(MAX_UNPACKED_BYTES, MAX_RATIO * self._size):
            raise InvalidData(
                where=f"{self._uri}: row {self.rows}",
                found=f"{self._text} characters by this row, of {self._size} bytes",
                problem=f"unpacks to more than {MAX_RATIO} times its size",
                fix="write the rows that are meant",
            )

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        import pyarrow

        self.file.close()
        if isinstance(error, (pyarrow.ArrowException, OSError, MemoryError)):
            raise InvalidData(
                where=f"{self._uri}: after row {self.rows}",
                problem=f"Parquet data is damaged: {first_line(error)}",
                fix="upload the file again, or write it anew",
            ) from error
        if error is None and self.rows != self._metadata.num_rows:
            raise InvalidData(
                where=self._uri,
                found=self.rows,
                problem=f"holds another number of rows than the {self._metadata.num_rows} its footer counts",
                fix="write the file anew",
            )


def read_metadata(path: Path, uri: str) -> Arrow:
    """Give a file's metadata as Arrow has it, without what could make Arrow run code.

    Raises:
        InvalidData: the footer is not there, damaged or too large.
    """
    import pyarrow
    from pyarrow import parquet

    footer = _footer(path, uri)
    try:
        thrift.count_structs(footer, at_most=MAX_FOOTER_STRUCTS)
    except thrift.TooMany as error:
        raise InvalidData(
            where=f"{uri}: footer", problem=f"describes {error}", fix="write fewer columns or larger row groups"
        ) from error
    except thrift.NotThrift as error:
        raise InvalidData(where=f"{uri}: footer", problem=f"is damaged: {error}", fix="write the file anew") from error
    hidden = footer.replace(_SCHEMA_KEY, _HIDDEN_KEY)
    alone = _MAGIC + hidden + struct.pack("<I", len(hidden)) + _MAGIC
    try:
        metadata = parquet.ParquetFile(pyarrow.BufferReader(alone), page_checksum_verification=True).metadata
    except (pyarrow.ArrowException, OSError, MemoryError) as error:
        raise InvalidData(
            where=f"{uri}: footer", problem=f"is damaged: {first_line(error)}", fix="write the file anew"
        ) from error
    schema = (metadata.metadata or {}).get(_HIDDEN_KEY, b"")
    if _EXTENSION_KEY in footer or _EXTENSION_KEY in base64.b64decode(schema + b"==", validate=False):
        raise InvalidData(
            where=f"{uri}: footer",
            found=_EXTENSION_KEY.decode(),
            problem="a column has an extension type",
            fix="write the columns as plain strings",
        )
    return metadata


def _footer(path: Path, uri: str) -> bytes:
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(kinds.TEXT_START_BYTES)
        check_start(start, uri)
        file.seek(max(0, size - END_BYTES))
        length = footer_length(file.read(END_BYTES), size, uri)
        if length > MAX_FOOTER_BYTES:
            raise InvalidData(
                where=f"{uri}: footer",
                found=length,
                problem=f"is longer than {MAX_FOOTER_BYTES} bytes",
                fix="write fewer row groups",
            )
        file.seek(size - END_BYTES - length)
        return file.read(length)


def check_start(start: bytes, uri: str) -> None:
    """Raise InvalidData where a file that begins so is empty, or not Parquet."""
    kinds.check_start(
        start,
        uri,
        magic=_MAGIC,
        wanted="Parquet",
        otherwise="CSV",
        fix="set the channel's ContentType to text/csv;header=present if it is CSV, or convert the file",
    )


def footer_length(end: bytes, size: int, uri: str) -> int:
    """Give how long the footer is of a file of `size` bytes whose last END_BYTES are `end`; it lies before these.

    Raises:
        InvalidData: the file is cut.
    """
    length = int.from_bytes(end[:4], "little")
    if end[4:] == _MAGIC and 0 < length <= size - END_BYTES - len(_MAGIC):
        return length
    raise InvalidData(
        where=uri,
        found=f"{size} bytes",
        problem="Parquet file is cut: it does not end with a footer",
        fix="upload it again, whole",
    )


def _check_columns(metadata: Arrow, wanted: Sequence[str], uri: str) -> None:
    columns = [metadata.schema.column(index) for index in range(metadata.num_columns)]
    nested = list(dict.fromkeys(column.path.split(".")[0] for column in columns if column.path != column.name))
    flat = [column for column in columns if column.path == column.name]
    faults = column_faults([*(column.name for column in flat), *nested], wanted, where=f"{uri}: schema")
    kinds_found = [(column.name, _kind_of(column)) for column in flat] + [(name, "a list or struct") for name in nested]
    for name, kind in kinds_found:
        if name in wanted and kind is not None:
            faults.append(
                Fault(
                    where=f"{uri}: column {name!r}",
                    found=kind,
                    problem="is not text",
                    fix="write it as a string column",
                )
            )
    if faults:
        raise InvalidData.of(faults)


def _kind_of(column: Arrow) -> str | None:
    """Give in words what a column holds if that is not plain text."""
    logical = str(column.logical_type.type)
    if column.max_repetition_level:
        return "a repeated field"
    if column.physical_type == "BYTE_ARRAY" and logical in {"STRING", "ENUM", "JSON"}:
        return None
    if column.physical_type == "BYTE_ARRAY" and logical == "NONE" and column.converted_type == "UTF8":
        return None
    if logical == "NONE":
        return "bytes without a text type" if column.physical_type == "BYTE_ARRAY" else str(column.physical_type)
    return f"{column.physical_type} as {logical}"


def check_counts(metadata: Arrow, size: int, uri: str) -> None:
    """Raise InvalidData where what the footer says of row groups and columns cannot be of a file of `size` bytes."""
    rows = 0
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        where = f"{uri}: row group {index}"
        rows += group.num_rows
        if group.num_rows < 0 or not 0 <= group.total_byte_size <= MAX_ROW_GROUP_BYTES:
            raise InvalidData(
                where=where,
                found=f"{group.num_rows} rows, {group.total_byte_size} bytes",
                problem=f"claims an impossible size, or more than {MAX_ROW_GROUP_BYTES // 2**30} GiB",
                fix="write smaller row groups",
            )
        for number in range(group.num_columns) if group.num_rows else ():
            column = group.column(number)
            start = _start(column)
            if (
                column.num_values != group.num_rows
                or start < len(_MAGIC)
                or column.total_compressed_size < 0
                or start + column.total_compressed_size > size
            ):
                raise InvalidData(
                    where=f"{where}: column {column.path_in_schema!r}",
                    found=f"{column.num_values} values at byte {start}, {column.total_compressed_size} bytes long",
                    problem=f"does not fit the file of {size} bytes and {group.num_rows} rows",
                    fix="the file is damaged; write it anew",
                )
    if rows != metadata.num_rows:
        raise InvalidData(
            where=f"{uri}: footer",
            found=metadata.num_rows,
            problem=f"counts other rows than its row groups, which have {rows}",
            fix="write the file anew",
        )


def _start(column: Arrow) -> int:
    """Give the byte at which a column chunk begins."""
    start = int(column.data_page_offset)
    if column.has_dictionary_page and column.dictionary_page_offset:
        start = min(start, int(column.dictionary_page_offset))
    return start


def largest_unpacked(metadata: Arrow, wanted: Sequence[str], path: Path, uri: str) -> int:
    """Give the unpacked size of the largest page of these columns; raises InvalidData where one is too large."""
    largest = 0
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        for number in range(group.num_columns) if group.num_rows else ():
            column = group.column(number)
            if column.path_in_schema in wanted:
                where = f"{uri}: row group {index}: column {column.path_in_schema!r}"
                start = _start(column)
                end = start + column.total_compressed_size
                largest = max(largest, parquet_pages.largest_page(path, where, start=start, end=end))
    return largest


def _rows_of(batch: Arrow, wanted: Sequence[str], uri: str, before: int) -> Iterator[list[str | None]]:
    columns = [batch.column(name) for name in wanted]
    for index in range(batch.num_rows):
        values: list[str | None] = []
        for name, column in zip(wanted, columns, strict=True):
            values.append(_text_at(column, index, f"{uri}: row {before + index + 1}, column {name!r}"))
        yield values


def _text_at(column: Arrow, index: int, where: str) -> str | None:
    value = column[index]
    if not value.is_valid:
        return None
    data = value.as_buffer().to_pybytes()
    if len(data) > MAX_VALUE_BYTES:
        raise InvalidData(
            where=where,
            found=f"{len(data)} bytes",
            problem=f"is longer than {MAX_VALUE_BYTES // 2**20} MiB",
            fix="shorten it",
        )
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError as error:
        raise InvalidData(
            where=where,
            found=data[max(0, error.start - 12) : error.start + 8],
            problem=f"is not UTF-8 ({error.reason}) at its byte {error.start}",
            fix="write valid UTF-8",
        ) from error


def first_line(error: BaseException) -> str:
    """Give the first line of what a library says, cut to a message's length."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
