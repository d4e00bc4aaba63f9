"""Gives the rows of a channel's files, whatever their format; called by the problems, in child processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gyropilot.data import csv_files, parquet_files
from gyropilot.errors import Fault, InvalidData

CSV = "text/csv;header=present"
PARQUET = "x-application/vnd.amazon+parquet"


class SourceFile(Protocol):
    """One staged object."""

    @property
    def path(self) -> Path:
        """Where it lies on this machine."""

    @property
    def uri(self) -> str:
        """Its s3:// URI, for messages."""


class Channel(Protocol):
    """One staged channel; its files in key order."""

    @property
    def content_type(self) -> str:
        """As the request has it, or its default."""

    @property
    def compression(self) -> str:
        """CompressionType: `None` or `Gzip`."""

    @property
    def files(self) -> Sequence[SourceFile]:
        """In key order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row as the file has it; nothing is trimmed."""

    source_uri: str
    row_number: int
    """Within its file, from 1, a header not counted."""
    values: tuple[str | None, ...]
    """In the order of the columns asked for; None is Parquet's null. An empty CSV field is ""."""

    @property
    def place(self) -> str:
        """The row as messages name it: `s3://bucket/key: row 7`."""
        return f"{self.source_uri}: row {self.row_number}"


def read_rows(channel: Channel, columns: Sequence[str]) -> Iterator[Row]:
    """Give every row of every file, in file order, in bounded memory.

    The files must have exactly `columns`, in any order. CSV files have a header each, or only the first one has.

    Raises:
        InvalidData: a file cannot be read as the channel's ContentType says; names file, row and column, what was
            found and the mend.
    """
    if channel.compression != "None":
        raise InvalidData(
            where=channel.files[0].uri if channel.files else "channel",
            found=channel.compression,
            problem="compressed files are not read here",
            fix="upload them uncompressed and leave CompressionType out",
        )
    kind = channel.content_type.partition(";")[0].strip().lower()
    if kind == "text/csv":
        yield from _csv_rows(channel.files, columns)
    elif kind == PARQUET:
        yield from _parquet_rows(channel.files, columns)
    else:
        raise InvalidData(
            where="ContentType", found=channel.content_type, problem="is not read here", fix=f"use {CSV} or {PARQUET}"
        )


def column_names(channel: Channel) -> tuple[str, ...]:
    """Give the names in the first line of a channel's first file, or in its schema; none where it cannot be read."""
    if channel.compression != "None" or not channel.files:
        return ()
    file = channel.files[0]
    try:
        if channel.content_type.partition(";")[0].strip().lower() != PARQUET:
            return tuple(field.strip() for field in next(csv_files.Reader(file.path, file.uri).records(), []))
        schema = parquet_files.read_metadata(file.path, file.uri).schema
        return tuple(schema.column(index).path.partition(".")[0] for index in range(len(schema)))
    except InvalidData:
        return ()


def _parquet_rows(files: Sequence[SourceFile], columns: Sequence[str]) -> Iterator[Row]:
    for file in files:
        for row, values in parquet_files.parquet_records(file.path, file.uri, wanted=columns):
            yield Row(source_uri=file.uri, row_number=row, values=tuple(values))


def _csv_rows(files: Sequence[SourceFile], columns: Sequence[str]) -> Iterator[Row]:
    inherited: tuple[str, ...] | None = None
    later_headers: str | None = None
    for index, file in enumerate(files):
        opened = csv_files.open_csv(file.path, file.uri, wanted=columns, inherited=inherited)
        inherited = inherited or opened.columns
        if index > 0:
            later_headers = later_headers or opened.header
            _check_same_habit(file, opened.header, later_headers)
        order = [opened.columns.index(name) for name in columns]
        for row, fields in opened.records:
            yield Row(source_uri=file.uri, row_number=row, values=tuple(fields[at] for at in order))


def _check_same_habit(file: SourceFile, header: str, later_headers: str) -> None:
    if header != later_headers:
        raise InvalidData.of(
            [
                Fault(
                    where=f"{file.uri}: first line",
                    problem=f"header is {header}, where in the files before it the header was {later_headers}",
                    fix="give every file a header, or only the first",
                )
            ]
        )
