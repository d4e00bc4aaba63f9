"""What looking at the rows brought up: counted, with the first rows named, and told in words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from gyropilot.data import secrets
from gyropilot.problems.contract import Json
from gyropilot.problems.text_generation import row_keys
from gyropilot.problems.text_generation.row_keys import RowKeys

RECOMMENDED_ROWS = 1000
LONG_FACTOR = 8
"""A row that is this many times as long as the middle one counts as very long."""
NAMED_ROWS = 20
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

Severity = Literal["dropped", "warning", "note"]

KINDS: dict[str, tuple[Severity, str]] = {
    "blank_output": ("dropped", "{count} rows have a blank output and were left out: there is nothing to learn"),
    "blank_input": ("warning", "{count} rows have a blank input: the model learns to answer to nothing"),
    "cut_row": ("warning", "{count} rows are longer than the base model takes and were cut"),
    "cut_input": ("note", "{count} inputs lost their beginning"),
    "cut_output": ("warning", "{count} outputs lost their end: the model learns to stop in the middle"),
    "long_row": (
        "note",
        f"{{count}} rows are more than {LONG_FACTOR} times as long as the middle one; each takes as much time as many",
    ),
    "control_text": ("note", "{count} rows hold the text of a control token; it is learnt as plain text"),
    "control_character": ("note", "{count} rows hold control characters; they are learnt as they stand"),
    "lost_character": ("warning", "{count} rows hold U+FFFD: text was lost when it was converted to UTF-8"),
    "secret": (
        "warning",
        "{count} rows seem to hold a secret (a key, a token), which the model would learn by heart; withdraw it",
    ),
    "card_number": ("warning", "{count} rows seem to hold a payment card number, which the model would learn by heart"),
    "duplicate": (
        "warning",
        "{count} rows repeat an earlier row but for spaces and Unicode form; they count as often as they stand there",
    ),
    "same_input": ("note", "{count} rows repeat an earlier row's input with another output"),
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
        if place is not None and len(rows) < NAMED_ROWS:
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
            for kind, (severity, words) in KINDS.items()
            if self._counts.get(kind)
        )


def note_text(found: Findings, place: str, columns: Iterable[tuple[str, str]]) -> None:
    """Look into the text of one row; `columns` are (name, text). Of a secret its column and kind are kept, no more."""
    kinds: list[tuple[str, str]] = []
    texts = []
    for name, text in columns:
        texts.append(text)
        kinds += [(name, kind) for kind in secrets.kinds_in(text)]
    for finding in ("secret", "card_number"):
        said = [f"column {name} ({kind})" for name, kind in kinds if (kind == secrets.CARD) == (finding != "secret")]
        if said:
            found.add(finding, f"{place}, {', '.join(said)}")
    if any("\ufffd" in text for text in texts):
        found.add("lost_character", place)
    if any(_CONTROL.search(text) for text in texts):
        found.add("control_character", place)


def note_duplicates(found: Findings, keys: RowKeys, training: Sequence[int], validation: Sequence[int]) -> None:
    """Count copies, and validation rows that the training rows hold too; the numbers are those of the rows."""
    copies = row_keys.repeated(keys.pairs)
    found.add("duplicate", count=copies)
    found.add("same_input", count=row_keys.repeated(keys.inputs) - copies)
    in_both = row_keys.shared(keys.pairs, training, validation)
    found.add("in_both_splits", count=in_both)
    found.add("input_in_both_splits", count=row_keys.shared(keys.inputs, training, validation) - in_both)


def long_rows(lengths: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
    """Give the numbers of the rows that are very long, longest first; `lengths` are their tokens."""
    rows = np.flatnonzero(lengths > LONG_FACTOR * np.median(lengths))
    return rows[np.argsort(-lengths[rows], kind="stable")]


def note_size(found: Findings, training_rows: int) -> None:
    """Note that there are fewer training rows than recommended."""
    if training_rows < RECOMMENDED_ROWS:
        found.add("few_rows", count=training_rows)


def note_learning_rate(found: Findings, rate: float) -> None:
    """Warn of a rate that is allowed and changes no weight."""
    if rate == 0:
        found.add("zero_learning_rate")
