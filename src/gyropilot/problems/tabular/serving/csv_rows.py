"""Rows of a CSV payload: the features in training order, with or without a header; payloads.py reads by it.

A header is a first row that names the features, in training order too: of rows that are sent some at a time, as a batch
transform does, the first call alone would know of another order. Blank lines at the end are no rows; within, they are
rows with too few columns, so that as many answers come back as lines were sent. Where there is but one feature an empty
line is a row without its value.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from itertools import islice

from gyropilot.errors import Fault, InvalidRequest
from gyropilot.problems.tabular.columns import Schema
from gyropilot.problems.tabular.serving import faults as faulty
from gyropilot.problems.tabular.serving.faults import MOST_FAULTS, raise_faults

_LONGEST_CELL = 2**30
_FORM = "separate values by commas, and put double quotes round one that holds a comma, a quote or a line's end"
_MOST_HEADER_CELLS = 100_000

Row = list[str]


class CsvRows:
    """The rows of one payload, found to fit the schema; each reading begins anew."""

    def __init__(self, body: bytes, schema: Schema) -> None:
        """Check every row.

        Raises:
            InvalidRequest: with the first faults.
        """
        csv.field_size_limit(_LONGEST_CELL)  # of the whole process, and 128 KiB before it is set
        text = _decoded(body)
        self._text, self._schema = text if len(schema.features) == 1 else text.rstrip("\r\n"), schema
        first = next(self._read(), None)
        self._header_rows = 0 if first is None else self._taken_as_header(first)
        self._check()

    def chunks(self, size: int) -> Iterator[tuple[int, list[Row]]]:
        """Give the rows, some at a time, with how many are before these."""
        rows, before = islice(self._read(), self._header_rows, None), 0
        while some := list(islice(rows, size)):
            yield before + self._header_rows, some
            before += len(some)

    def _read(self) -> Iterator[Row]:
        """Give every row as it stands; one feature's empty line is that feature left empty."""
        reader = csv.reader(io.StringIO(self._text, newline=""), strict=True)
        empty: Row = [""] if len(self._schema.features) == 1 else []
        read = 0
        try:
            for row in reader:
                yield row or empty
                read += 1
        except csv.Error as error:
            where, problem = faulty.row(read + 1), f"is no row of CSV: {error}"
            raise InvalidRequest(where=where, problem=problem, fix=_FORM) from error

    def _taken_as_header(self, first: Row) -> int:
        """Give 1 where the first row is a header; 0 where it is none."""
        names = self._schema.names
        cells = [one.strip() for one in first[:_MOST_HEADER_CELLS]]
        if cells in (names, [one.strip() for one in names]):
            return 1
        known = {*names, self._schema.target}
        if len(cells) > 1 and 2 * sum(one in known for one in cells) > len(cells):
            raise InvalidRequest.of([_no_header(cells, self._schema)])
        return 0

    def _check(self) -> None:
        faults: list[Fault] = []
        count, width = 0, len(self._schema.features)
        try:
            for number, row in enumerate(self._read(), start=1):
                if number <= self._header_rows:
                    continue
                count += 1
                if len(row) != width:
                    faults.append(faulty.wrong_count(faulty.row(number), len(row), self._schema, values="columns"))
                if len(faults) >= MOST_FAULTS:
                    break
        except InvalidRequest as error:
            faults += error.faults
        if not count and not faults:
            header = " beside the header" if self._header_rows else ""
            faults.append(Fault(where="rows", problem=f"there are none{header}", fix="send a row a line"))
        raise_faults(faults)


def _decoded(body: bytes) -> str:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        problem = f"is not UTF-8 at byte {error.start} (of the payload, counted from 0)"
        raise InvalidRequest(
            where=f"line {line}",
            problem=problem,
            fix="write the payload in UTF-8, as the model's training data is read",
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InvalidRequest(where=f"line {line}", problem="holds a NUL character", fix="send text")
    return text


def _no_header(cells: Row, schema: Schema) -> Fault:
    """Say of a row that is meant as a header why it is none."""
    missing = [one for one in schema.names if one not in cells]
    unknown = [one for one in dict.fromkeys(cells) if one not in schema.names]
    twice = [one for one in dict.fromkeys(cells) if cells.count(one) > 1]
    told = [
        f"{label} {faulty.named(names)}"
        for label, names in (("lacks", missing), ("has beside the features", unknown), ("tells twice", twice))
        if names
    ]
    if not told:
        told = ["names the features in another order"]
    fix = f"send the features alone, with a header or without, in this order: {faulty.named(schema.names)}"
    if schema.target in unknown:
        fix += f"; {faulty.shown(schema.target)} is what the model predicts"
    return Fault(where=faulty.row(1), problem=f"is a header that does not fit: it {'; '.join(told)}", fix=fix)
