"""What looking at a table brought up: counted, told in words, with the columns and the first rows it is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from gyropilot.data import csv_files
from gyropilot.problems.contract import Json

Severity = Literal["dropped", "warning", "note"]
_NAMED = 20


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing found in the data."""

    kind: str
    severity: Severity
    count: int
    """Of rows, or of columns where it is about columns."""
    message: str
    columns: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    """The first of them, as `s3://bucket/key: row 7`."""

    def to_json(self) -> dict[str, Json]:
        """Give the finding as JSON values."""
        return {**asdict(self), "columns": list(self.columns), "rows": list(self.rows)}


class Findings:
    """The findings of one job, in the order in which they were made."""

    def __init__(self) -> None:
        self._all: list[Finding] = []

    def add(
        self,
        kind: str,
        severity: Severity,
        message: str,
        *,
        count: int,
        columns: Sequence[str] = (),
        rows: Sequence[str] = (),
    ) -> None:
        """Keep one."""
        self._all.append(
            Finding(
                kind=kind,
                severity=severity,
                count=count,
                message=message,
                columns=tuple(columns[:_NAMED]),
                rows=tuple(rows[:_NAMED]),
            )
        )

    def all(self) -> tuple[Finding, ...]:
        """Give all of them."""
        return tuple(self._all)


def rows_of(count: int) -> str:
    """Give `1 row`, `3 rows`."""
    return f"{count} row{'' if count == 1 else 's'}"


def columns_of(names: Sequence[str]) -> str:
    """Give `column 'a'`, `columns 'a', 'b'`, `columns 'a', 'b' and 30 more`."""
    shown = ", ".join(map(repr, csv_files.shown(names[:5])))
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"column{'' if len(names) == 1 else 's'} {shown}{more}"
