"""Reads CSV files strictly: comma, double quotes as in RFC 4180, UTF-8, one record in memory at a time.

Accepted and made alike: a UTF-8 byte order mark, LF or CRLF at line ends, blank lines between records (skipped), a last
line without line end, spaces around column names, a quote inside an unquoted field (kept). All else that is not plain
is refused with row and line.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from gyropilot.data import gzip_files, kinds, secrets
from gyropilot.data.columns import column_faults, unlike
from gyropilot.errors import Fault, InvalidData

MAX_RECORD_BYTES = 4 * 2**20
"""Longest record, all its fields and lines together; also what an unterminated quote may cost."""

_BOM = b"\xef\xbb\xbf"
_WORD = re.compile(r"[^\W\d][\w.-]{0,29}")
"""What the name of a column looks like: a short word."""
_MAX_RAGGED = 5
"""Ragged rows of a file that are named at once."""

_SHOWN_FIELDS, _SHOWN_CHARACTERS = 12, 80

Header = Literal["present", "absent"]


@dataclass(frozen=True, kw_only=True)
class CsvRecords:
    """One opened file: whether it began with a header, and its data records in file order."""

    header: Header
    columns: tuple[str, ...]
    records: Iterator[tuple[int, list[str]]]
    """(row number from 1, fields in file order)"""


def open_csv(path: Path, uri: str, *, wanted: Sequence[str], inherited: Sequence[str] | None) -> CsvRecords:
    """Open one CSV file and settle its columns.

    Args:
        path: the file.
        uri: what errors call it.
        wanted: the column names, in any order.
        inherited: columns of the channel's first file, in its order; None for the first file, which needs a header.

    Raises:
        InvalidData: the file is no CSV with these columns.
    """
    start = start_of(path, uri)
    check_kind(start, uri)
    reader = Reader(path, uri)
    records = reader.records()
    try:
        first = next(records, None)
    except InvalidData:
        check_text_kind(start, uri)
        raise
    if first is None:
        raise InvalidData(where=uri, problem="holds nothing but blank lines", fix="upload the data, or remove the file")
    columns = tuple(field.strip(" ") if field.strip(" ") in wanted else field for field in first)
    if set(columns) == set(wanted) and len(columns) == len(wanted):
        return CsvRecords(header="present", columns=columns, records=reader.numbered(records, columns))
    if inherited is not None and len(columns) == len(inherited) and not _names_a_column(first, wanted):
        return CsvRecords(
            header="absent",
            columns=tuple(inherited),
            records=reader.numbered(_chain(first, records), inherited),
        )
    check_text_kind(start, uri)
    raise InvalidData.of(_header_faults(first, wanted, uri, is_first=inherited is None))


class Reader:
    """Feeds the csv module line by line, keeping count of bytes, lines and rows for the messages."""

    def __init__(self, path: Path, uri: str, *, is_gzip: bool = False) -> None:
        self._path = path
        self._uri = uri
        self._is_gzip = is_gzip
        self._row = 0
        self._are_columns_settled = False
        self._line = 0
        self._record_line = 1
        self._record_bytes = 0

    def records(self) -> Iterator[list[str]]:
        """Give the fields of each record that is not a blank line."""
        csv.field_size_limit(sys.maxsize)  # its own limit names no row; _lines keeps ours
        with gzip_files.open_gzip(self._path, self._uri) if self._is_gzip else self._path.open("rb") as file:
            reader = csv.reader(self._lines(file), strict=True)
            while True:
                try:
                    fields = next(reader, None)
                except csv.Error as error:
                    raise self._fault_of(error) from error
                if fields is None:
                    return
                if fields:
                    yield fields
                self._record_line = self._line + 1
                self._record_bytes = 0

    def numbered(self, records: Iterator[list[str]], columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
        """Give each record with its row number, refusing ragged ones."""
        self._are_columns_settled = True
        for fields in records:
            if len(fields) != len(columns):
                raise InvalidData.of(self._ragged_faults(fields, records, columns))
            self._row += 1
            yield self._row, fields

    def _lines(self, file: BinaryIO) -> Iterator[str]:
        offset = 0
        while line := file.readline(MAX_RECORD_BYTES + 1):
            self._line += 1
            self._record_bytes += len(line)
            if self._record_bytes > MAX_RECORD_BYTES:
                raise InvalidData(
                    where=self._place(),
                    problem=f"record is longer than {MAX_RECORD_BYTES // 2**20} MiB",
                    fix="a quote that opens a field may lack its end; else shorten the row",
                )
            skip = len(_BOM) if offset == 0 and line.startswith(_BOM) else 0
            if b"\0" in line:
                raise self._nul(offset + line.index(b"\0"))
            try:
                text = line[skip:].decode("utf-8")
            except UnicodeDecodeError as error:
                raise self._not_utf8(error, offset + skip) from error
            offset += len(line)
            yield text

    def _place(self) -> str:
        many = self._line > self._record_line
        lines = f"lines {self._record_line}-{self._line}" if many else f"line {self._record_line}"
        return f"{self._uri}: {self._row_name()} ({lines})"

    def _row_name(self) -> str:
        return f"row {self._row + 1}" if self._are_columns_settled else "first record"

    def _fault_of(self, error: csv.Error) -> InvalidData:
        text = str(error)
        if "unexpected end of data" in text:
            return InvalidData(
                where=f"{self._uri}: {self._row_name()} (line {self._record_line})",
                problem="a quoted field is not closed before the end of the file",
                fix='close it with a double quote; a double quote inside a quoted field is written twice ("")',
            )
        if "expected after" in text:
            return InvalidData(
                where=self._place(),
                problem="text follows the closing quote of a field",
                fix='write a double quote inside a quoted field twice ("")',
            )
        if "new-line character" in text:
            return InvalidData(
                where=self._place(),
                problem="a carriage return stands alone outside of quotes",
                fix="end lines with LF or CRLF",
            )
        return InvalidData(where=self._place(), problem=f"is not CSV: {text}", fix="quote fields as in RFC 4180")

    def _ragged_faults(self, fields: list[str], rest: Iterator[list[str]], columns: Sequence[str]) -> list[Fault]:
        faults = [self._ragged(fields, columns)]
        try:
            for later in rest:
                self._row += 1
                if len(later) != len(columns):
                    faults.append(self._ragged(later, columns))
                if len(faults) == _MAX_RAGGED:
                    break
        except InvalidData as error:
            faults += error.faults
        return faults

    def _ragged(self, fields: list[str], columns: Sequence[str]) -> Fault:
        return Fault(
            where=self._place(),
            found=shown(fields),
            problem=f"has {len(fields)} fields where the header has {len(columns)}",
            fix=(
                "enclose fields that hold a comma in double quotes"
                if len(fields) > len(columns)
                else "write each row with all its fields; enclose fields that hold a line end in double quotes"
            ),
        )

    def _nul(self, offset: int) -> InvalidData:
        return InvalidData(
            where=f"{self._place()}, byte {offset}",
            found=b"\0",
            problem="holds a NUL byte",
            fix="save the file as UTF-8 text (UTF-16 and binary files hold such bytes)",
        )

    def _not_utf8(self, error: UnicodeDecodeError, line_offset: int) -> InvalidData:
        return InvalidData(
            where=f"{self._place()}, byte {line_offset + error.start}",
            found=error.object[max(0, error.start - 12) : error.start + 8],
            problem=f"is not UTF-8 ({error.reason})",
            fix="save the file as UTF-8 (from Windows or Latin-1: iconv -f WINDOWS-1252 -t UTF-8)",
        )


def start_of(path: Path, uri: str, *, is_gzip: bool = False) -> bytes:
    """Give the first bytes of a file's text."""
    with gzip_files.open_gzip(path, uri) if is_gzip else path.open("rb") as file:
        return file.read(kinds.TEXT_START_BYTES)


def check_kind(start: bytes, uri: str) -> None:
    """Raise InvalidData where a file that begins so is empty, or a binary file of a known kind."""
    if not start:
        raise kinds.empty(uri)
    kind = kinds.binary_kind(start)
    if kind is None:
        return
    fixes = {
        "a Parquet file": "set the channel's ContentType to x-application/vnd.amazon+parquet, or convert the file",
        "gzip-compressed data": "decompress it; for tables CompressionType Gzip may be set instead",
    }
    raise InvalidData(
        where=uri,
        found=start[: kinds.MAGIC_BYTES],
        problem=f"is not CSV but {kind}",
        fix=fixes.get(kind, "save it as UTF-8 CSV"),
    )


def check_text_kind(start: bytes, uri: str) -> None:
    """Raise InvalidData where a file that begins so looks like text of another kind than CSV."""
    kind = kinds.text_kind(start)
    if kind is not None:
        raise InvalidData(
            where=uri, found=start[:40], problem=f"is not CSV but looks like {kind}", fix="upload the data as CSV"
        )


def _names_a_column(fields: Sequence[str], wanted: Sequence[str]) -> bool:
    names = {name.casefold() for name in wanted}
    return any(field.strip().casefold() in names for field in fields)


def _header_faults(fields: list[str], wanted: Sequence[str], uri: str, *, is_first: bool) -> list[Fault]:
    where = f"{uri}: header"
    if len(fields) == 1 and len(wanted) > 1:
        separator = re.search(r"[;\t|:]", fields[0])
        if separator:
            return [separator_fault(fields, separator.group(), where)]
    if is_first and not _names_a_column(fields, wanted) and not any(unlike(field, wanted) for field in fields):
        return [
            Fault(
                where=where,
                found=shown(fields),
                problem=f"the first line does not name the columns {' and '.join(wanted)}",
                fix=_naming_mend(fields, wanted),
            )
        ]
    return column_faults(fields, wanted, where=where)


def separator_fault(fields: Sequence[str], separator: str, where: str) -> Fault:
    """Give what is wrong with a header of one field that other marks than commas divide."""
    return Fault(
        where=where,
        found=shown(fields)[0],
        problem=f"is one column; the fields look separated by {separator!r}",
        fix="separate fields by commas",
    )


def _naming_mend(fields: Sequence[str], wanted: Sequence[str]) -> str:
    line = f"begin the file with the line {','.join(wanted)}"
    if not _looks_like_header(fields, wanted):
        return line
    names, new = (", ".join(map(repr, shown(one))) for one in (fields, wanted))
    return f"rename the columns {names} to {new}; or, if this line is data already, {line}"


def _looks_like_header(fields: Sequence[str], wanted: Sequence[str]) -> bool:
    words = {field.strip().casefold() for field in fields}
    return len(words) == len(fields) == len(wanted) and all(_WORD.fullmatch(word) for word in words)


def shown(fields: Sequence[str]) -> list[str]:
    """Give what of a record a message may show: the beginning, and no secret."""
    # Masked before it is cut: of a secret that is cut in two the first half has no known form, and would be shown.
    return [secrets.masked(field)[:_SHOWN_CHARACTERS] for field in fields[:_SHOWN_FIELDS]]


def _chain(first: list[str], rest: Iterator[list[str]]) -> Iterator[list[str]]:
    yield first
    yield from rest
