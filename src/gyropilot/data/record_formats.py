"""The forms of records that batch transforms can take apart: CSV rows, JSON values, a JSON value a line."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any, Literal

Json = Any
RecordFormat = Literal["csv", "json", "jsonlines"]

CONTENT_TYPES = ("text/csv", "application/json", "application/jsonlines")
"""What a content type must be for its records to be filtered and joined."""

_LONGEST_CELL = 2**30
_FORMATS: dict[str, RecordFormat] = {
    "text/csv": "csv",
    "application/csv": "csv",
    "application/json": "json",
    "application/jsonlines": "jsonlines",
    "application/x-jsonlines": "jsonlines",
    "application/jsonl": "jsonlines",
}


class Unreadable(Exception):
    """A record is not of the form that its content type says; the message says why."""


def of_content_type(content_type: str) -> RecordFormat | None:
    """Give the form that a content type means, whatever its parameters; None where records stay whole."""
    return _FORMATS.get(content_type.partition(";")[0].strip().lower())


def read_row(line: str) -> list[str]:
    """Give the cells of one line.

    Raises:
        Unreadable: it is no row of CSV, as where a quotation mark stays open.
    """
    rows = read_rows(line)
    if len(rows) != 1:
        raise Unreadable(f"it holds {len(rows)} rows of CSV where one was expected")
    return rows[0]


def read_rows(text: str) -> list[list[str]]:
    """Give the rows of a CSV text; cells may hold newlines between quotation marks, empty lines are no rows.

    Raises:
        Unreadable: it is no CSV.
    """
    csv.field_size_limit(_LONGEST_CELL)  # of the whole process, and 128 KiB before it is set
    try:
        return [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except csv.Error as error:
        raise Unreadable(f"it is no CSV: {error}") from error


def write_row(cells: list[str]) -> bytes:
    """Give a row as a line without its end, in UTF-8; cells are quoted where they must be."""
    target = io.StringIO()
    csv.writer(target, lineterminator="\r\n").writerow(cells)  # quotes what is in the terminator
    return target.getvalue().removesuffix("\r\n").encode()


def read_json(text: str) -> Json:
    """Give the value of a JSON text.

    Raises:
        Unreadable: it is no JSON.
    """
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"it is no JSON: {error}") from error


def write_json(value: Json) -> bytes:
    """Give a value that was read as one line of JSON, in UTF-8.

    Raises:
        Unreadable: it lies too deep in itself.
    """
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # half of a surrogate pair has no UTF-8, but an escape
        return json.dumps(value, separators=(",", ":")).encode()
    except RecursionError as error:
        raise Unreadable(f"it is too deep: {error}") from error


def _refuse(name: str) -> Json:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is larger than numbers are read here")
    return value
