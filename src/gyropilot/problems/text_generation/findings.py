"""What looking at the rows brought up: counted, with the first rows named, and told in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from gyropilot.problems.contract import Json

RECOMMENDED_ROWS = 1000
_NAMED_ROWS = 20

Severity = Literal["dropped", "warning", "note"]

_KINDS: dict[str, tuple[Severity, str]] = {
    "blank_output": ("dropped", "{count} rows have a blank output and were left out: there is nothing to learn"),
    "blank_input": ("warning", "{count} rows have a blank input: the model learns to answer to nothing"),
    "cut_row": ("warning", "{count} rows are longer than the base model takes and were cut"),
    "cut_input": ("note", "{count} inputs lost their beginning"),
    "cut_output": ("warning", "{count} outputs lost their end: the model learns to stop in the middle"),
    "control_text": ("note", "{count} rows hold the text of a control token; it is learnt as plain text"),
    "duplicate": ("warning", "{count} rows repeat an earlier row exactly; they count as often as they stand there"),
    "in_both_splits": (
        "warning",
        "{count} validation rows stand in the training rows too: the measured quality is too good by them",
    ),
    "input_in_both_splits": (
        "note",
        "{count} validation rows share their input, not their output, with a training row",
    ),
    "zero_learning_rate": ("warning", "learningRate is 0: nothing will be learned, the tuned model equals its base"),
    "few_rows": ("note", f"{{count}} training rows; {RECOMMENDED_ROWS} or more are recommended"),
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing found in the rows."""

    kind: str
    severity: Severity
    count: int
    message: str
    rows: tuple[str, ...]
    """The first of them, as `s3://bucket/key: row 7`."""

    def to_json(self) -> dict[str, Json]:
        """Give the finding as JSON values."""
        return {**asdict(self), "rows": list(self.rows)}


class Findings:
    """Counts of what was found, by kind."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._rows: dict[str, list[str]] = {}

    def add(self, kind: str, place: str | None = None, *, count: int = 1) -> None:
        """Count one more of `kind`."""
        self._counts[kind] = self._counts.get(kind, 0) + count
        rows = self._rows.setdefault(kind, [])
        if place is not None and len(rows) < _NAMED_ROWS:
            rows.append(place)

    def count(self, kind: str) -> int:
        """Give how many of `kind` were found."""
        return self._counts.get(kind, 0)

    def rows(self, kind: str) -> list[str]:
        """Give the first rows of `kind`."""
        return self._rows.get(kind, [])

    def all(self) -> tuple[Finding, ...]:
        """Give all kinds of which there is one."""
        return tuple(
            Finding(
                kind=kind,
                severity=severity,
                count=self._counts[kind],
                message=words.format(count=self._counts[kind]),
                rows=tuple(self.rows(kind)),
            )
            for kind, (severity, words) in _KINDS.items()
            if self._counts.get(kind)
        )


def note_duplicates(
    found: Findings,
    keys: Sequence[bytes],
    input_keys: Sequence[bytes],
    training: Sequence[int],
    validation: Sequence[int],
) -> None:
    """Count exact duplicates, and validation rows that the training rows hold too.

    Args:
        found: takes the counts.
        keys: digest of input and output of each row; `input_keys` that of the input alone.
        input_keys: see keys.
        training: numbers of the training rows.
        validation: numbers of the validation rows.
    """
    found.add("duplicate", count=len(keys) - len(set(keys)))
    known = {keys[number] for number in training}
    known_inputs = {input_keys[number] for number in training}
    in_both = [number for number in validation if keys[number] in known]
    found.add("in_both_splits", count=len(in_both))
    shared = sum(input_keys[number] in known_inputs for number in validation)
    found.add("input_in_both_splits", count=shared - len(in_both))


def note_size(found: Findings, training_rows: int) -> None:
    """Note that there are fewer training rows than recommended."""
    if training_rows < RECOMMENDED_ROWS:
        found.add("few_rows", count=training_rows)


def note_learning_rate(found: Findings, rate: float) -> None:
    """Warn of a rate that is allowed and changes no weight."""
    if rate == 0:
        found.add("zero_learning_rate")
