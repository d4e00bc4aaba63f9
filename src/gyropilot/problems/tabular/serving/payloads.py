"""Reads the payload of a call into rows to be predicted, some at a time; each container's part reads by it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from gyropilot.errors import Fault, InvalidRequest, Unavailable
from gyropilot.problems.contract import Call
from gyropilot.problems.tabular import tables
from gyropilot.problems.tabular.columns import Schema
from gyropilot.problems.tabular.serving import media_types
from gyropilot.problems.tabular.serving.csv_rows import CsvRows, Row
from gyropilot.problems.tabular.serving.json_rows import JsonRow, JsonRows
from gyropilot.problems.tabular.serving.media_types import CSV, LINES, MediaType

if TYPE_CHECKING:
    import pandas as pd

ROWS_AT_ONCE = 10_000
CELLS_AT_ONCE = 2_000_000
"""What is predicted together: memory for a call of any length is that of so many rows or cells, and of its payload."""
_ROW = re.compile(r"^row (\d+)")


@dataclass(frozen=True, kw_only=True)
class Payload:
    """The rows of one call, found to fit the schema."""

    media_type: MediaType
    rows: CsvRows | JsonRows
    schema: Schema

    def frames(self, call: Call) -> Iterator[pd.DataFrame]:
        """Give the features, some rows at a time, typed as those the model was trained on.

        Raises:
            InvalidRequest: a value cannot be read as its column's kind.
            Unavailable: the caller has gone.
        """
        for before, rows in self.rows.chunks(rows_at_once(self.schema)):
            check_wanted(call)
            try:
                yield self._typed(rows)
            except InvalidRequest as error:
                raise InvalidRequest.of(_numbered(one, before) for one in error.faults) from error

    def _typed(self, rows: Sequence[Row] | Sequence[JsonRow]) -> pd.DataFrame:
        if isinstance(self.rows, CsvRows):
            return tables.from_text(cast("Sequence[Row]", rows), self.schema)
        return tables.from_json(cast("Sequence[JsonRow]", rows), self.schema)


def read(call: Call, schema: Schema) -> Payload:
    """Read a call.

    Raises:
        InvalidRequest: with the first faults of its rows.
    """
    media_type = media_types.payload_type(call)
    if media_type == CSV:
        return Payload(media_type=media_type, rows=CsvRows(call.body, schema), schema=schema)
    rows = JsonRows(call.body, schema, is_lines=media_type == LINES)
    return Payload(media_type=media_type, rows=rows, schema=schema)


def rows_at_once(schema: Schema) -> int:
    """Give how many rows are predicted together."""
    return max(1, min(ROWS_AT_ONCE, CELLS_AT_ONCE // max(1, len(schema.features))))


def check_wanted(call: Call) -> None:
    """Raise Unavailable where nobody waits for the answer any more."""
    if call.cancelled.is_set():
        raise unwanted()


def unwanted() -> Unavailable:
    """Give what is raised where nobody waits for the answer any more."""
    return Unavailable("the rows were not predicted to their end: nobody waits for the answer")


def _numbered(fault: Fault, before: int) -> Fault:
    """Count a row of a part of the payload in the whole payload."""
    return replace(fault, where=_ROW.sub(lambda found: f"row {int(found[1]) + before}", fault.where))
