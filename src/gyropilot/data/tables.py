"""Gives the fields of a channel's files as text, whatever their columns are called; called by problems, in children.

The first file settles the columns. Later CSV files have them again, in any order, or go on without a header; later
Parquet files have them again. Names lose the spaces around them; a column without a name gets one, as `Unnamed: 0`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gyropilot.data import csv_files, parquet_tables
from gyropilot.data.columns import column_faults
from gyropilot.data.frames import CSV, PARQUET, Channel, SourceFile
from gyropilot.data.header_names import header_columns, named
from gyropilot.errors import InvalidData

Arrow = Any
"""A value of pyarrow's, which ships no types."""
_BATCH_ROWS = 2048
_BATCH_FIELDS = 200_000


@dataclass(frozen=True, kw_only=True)
class TextBatch:
    """Some rows of one file."""

    uri: str
    first_row: int
    """Its number within the file, from 1, a header not counted."""
    columns: tuple[Arrow, ...]
    """A string array for each column of the table, in its order; null where Parquet has one."""

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.columns[0])


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """An opened channel."""

    columns: tuple[str, ...]
    """As the first file has them."""
    batches: Iterator[TextBatch]
    """All rows of all files, in order; raises InvalidData where a file cannot be read."""


def open_table(channel: Channel) -> TextTable:
    """Open the files of a channel as one table.

    Raises:
        InvalidData: a file cannot be read as the channel's ContentType says, or has other columns than the first;
            names file, row and column, what was found and the mend.
    """
    kind = channel.content_type.partition(";")[0].strip().lower()
    if kind == "text/csv":
        return _csv_table(channel.files, is_gzip=channel.compression == "Gzip")
    if kind == PARQUET and channel.compression == "None":
        return _parquet_table(channel.files)
    if kind == PARQUET:
        raise InvalidData(
            where=channel.files[0].uri,
            found=channel.compression,
            problem="Parquet compresses by itself; a compressed file of it is not read",
            fix="upload the Parquet file itself, and leave CompressionType out",
        )
    raise InvalidData(
        where="ContentType", found=channel.content_type, problem="is not read here", fix=f"use {CSV} or {PARQUET}"
    )


def _csv_table(files: Sequence[SourceFile], *, is_gzip: bool) -> TextTable:
    first = _open_csv(files[0], is_gzip=is_gzip)
    if first.first is None:
        raise InvalidData(
            where=files[0].uri, problem="holds nothing but blank lines", fix="upload the data, or remove the file"
        )
    try:
        columns = header_columns(first.first, files[0].uri)
    except InvalidData:
        csv_files.check_text_kind(first.start, files[0].uri)
        raise
    return TextTable(columns=columns, batches=_csv_batches(files, first, columns, is_gzip=is_gzip))


@dataclass(frozen=True, kw_only=True)
class _OpenCsv:
    start: bytes
    reader: csv_files.Reader
    records: Iterator[list[str]]
    first: list[str] | None


def _open_csv(file: SourceFile, *, is_gzip: bool) -> _OpenCsv:
    start = csv_files.start_of(file.path, file.uri, is_gzip=is_gzip)
    csv_files.check_kind(start, file.uri)
    reader = csv_files.Reader(file.path, file.uri, is_gzip=is_gzip)
    records = reader.records()
    try:
        return _OpenCsv(start=start, reader=reader, records=records, first=next(records, None))
    except InvalidData:
        csv_files.check_text_kind(start, file.uri)
        raise


def _csv_batches(
    files: Sequence[SourceFile], first: _OpenCsv, columns: tuple[str, ...], *, is_gzip: bool
) -> Iterator[TextBatch]:
    yield from _batches_of(files[0].uri, first.reader.numbered(first.records, columns), columns, columns)
    habit: str | None = None
    for file in files[1:]:
        opened = _open_csv(file, is_gzip=is_gzip)
        if opened.first is None:
            problem = "holds nothing but blank lines"
            raise InvalidData(where=file.uri, problem=problem, fix="upload the data, or remove the file")
        own = _own_columns(opened, columns, file.uri)
        habit = habit or ("absent" if own is None else "present")
        if (own is None) != (habit == "absent"):
            raise InvalidData(
                where=f"{file.uri}: first line",
                problem=f"header is {'absent' if own is None else 'present'}, where in the files before it the header"
                f" was {habit}",
                fix="give every file a header, or only the first",
            )
        records = opened.records if own is not None else _chain(opened.first, opened.records)
        yield from _batches_of(file.uri, opened.reader.numbered(records, columns), own or columns, columns)


def _own_columns(opened: _OpenCsv, columns: Sequence[str], uri: str) -> tuple[str, ...] | None:
    """Give the columns of a later file in its order; None where it goes on without a header."""
    assert opened.first is not None
    fields = named(opened.first)
    known = set(columns)
    if len(fields) == len(columns) and set(fields) == known:
        return fields
    if sum(field in known for field in fields) < max(2, len(columns) / 2):
        # Of another length it is a ragged row, which the reader names.
        return None
    raise InvalidData.of(column_faults(fields, columns, where=f"{uri}: header"))


def _batches_of(
    uri: str, records: Iterator[tuple[int, list[str]]], own: Sequence[str], columns: Sequence[str]
) -> Iterator[TextBatch]:
    order = None if own == columns else [own.index(name) for name in columns]
    most = max(1, min(_BATCH_ROWS, _BATCH_FIELDS // len(columns)))
    rows: list[list[str]] = []
    first_row = 1
    for number, fields in records:
        rows.append(fields)
        if len(rows) == most:
            yield _batch(uri, first_row, rows, order)
            rows, first_row = [], number + 1
    if rows:
        yield _batch(uri, first_row, rows, order)


def _batch(uri: str, first_row: int, rows: list[list[str]], order: Sequence[int] | None) -> TextBatch:
    import pyarrow as pa

    columns = [pa.array(values, pa.large_string()) for values in zip(*rows, strict=True)]
    ordered = columns if order is None else [columns[at] for at in order]
    return TextBatch(uri=uri, first_row=first_row, columns=tuple(ordered))


def _parquet_table(files: Sequence[SourceFile]) -> TextTable:
    names = parquet_tables.column_names(files[0].path, files[0].uri)
    columns = header_columns(names, files[0].uri)
    return TextTable(columns=columns, batches=_parquet_batches(files, columns))


def _parquet_batches(files: Sequence[SourceFile], columns: tuple[str, ...]) -> Iterator[TextBatch]:
    for file in files:
        own = header_columns(parquet_tables.column_names(file.path, file.uri), file.uri)
        faults = column_faults(own, columns, where=f"{file.uri}: schema")
        if faults:
            raise InvalidData.of(faults)
        order = [own.index(name) for name in columns]
        first_row = 1
        for batch in parquet_tables.text_batches(file.path, file.uri):
            yield TextBatch(uri=file.uri, first_row=first_row, columns=tuple(batch[at] for at in order))
            first_row += len(batch[0])


def _chain(first: list[str], rest: Iterator[list[str]]) -> Iterator[list[str]]:
    yield first
    yield from rest
