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
_FORMS = re.compile(r"\[([^|\]]*)\|([^\]]*)\]")

Severity = Literal["dropped", "warning", "note"]

KINDS: dict[str, tuple[Severity, str]] = {
    "blank_output": (
        "dropped",
        "{count} [row has|rows have] a blank output and [was|were] left out: there is nothing to learn",
    ),
    "blank_task": (
        "dropped",
        "{count} [row names|rows name] no task and [was|were] left out: nothing says which prompt learns from it",
    ),
    "blank_input": ("warning", "{count} [row has|rows have] a blank input: the model learns to answer to nothing"),
    "cut_row": ("warning", "{count} [row is|rows are] longer than the base model takes and [was|were] cut"),
    "cut_input": ("note", "{count} [input lost its|inputs lost their] beginning"),
    "cut_prompt": (
        "warning",
        "{count} [prompt lost its|prompts lost their] end, with what the template says there; raise max_source_length",
    ),
    "cut_output": (
        "warning",
        "{count} [output lost its|outputs lost their] end: the model learns to stop in the middle",
    ),
    "long_row": (
        "note",
        f"{{count}} [row is|rows are] over {LONG_FACTOR} times as long as the middle one and [takes|take] much time",
    ),
    "control_text": ("note", "{count} [row holds|rows hold] the text of a control token; it is learnt as plain text"),
    "control_character": ("note", "{count} [row holds|rows hold] control characters; they are learnt as they stand"),
    "lost_character": ("warning", "{count} [row holds|rows hold] U+FFFD: text was lost when it was converted to UTF-8"),
    "secret": (
        "warning",
        "{count} [row seems|rows seem] to hold a secret (key, token) that the model would learn by heart; withdraw it",
    ),
    "card_number": (
        "warning",
        "{count} [row seems|rows seem] to hold a payment card number, which the model would learn by heart",
    ),
    "duplicate": (
        "warning",
        "{count} [row repeats|rows repeat] an earlier row but for spaces and Unicode form; every copy counts",
    ),
    "same_input": ("note", "{count} [row repeats|rows repeat] an earlier row's input with another output"),
    "in_both_splits": (
        "warning",
        "{count} validation [row stands|rows stand] in the training rows too: the measured quality is too good by that",
    ),
    "input_in_both_splits": (
        "note",
        "{count} validation [row shares|rows share] the input, not the output, with a training row",
    ),
    "unmeasured_task": (
        "note",
        "{count} [task has|tasks have] no validation row: how well [it is|they are] learned is not measured",
    ),
    "several_tasks": (
        "note",
        "{count} tasks are learned; a question without `task` is answered for the one that the first row names",
    ),
    "zero_learning_rate": ("warning", "learningRate is 0: nothing will be learned, the tuned model equals its base"),
    "few_rows": ("note", f"{{count}} training [row|rows]; {RECOMMENDED_ROWS} or more are recommended"),
}
"""What is told of each kind; `[one|many]` is the word for one and for more."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing found in the rows."""

    kind: str
    severity: Severity
    count: int
    message: str
    rows: tuple[str, ...]
    """The first of them, as `s3://bucket/key: row 7`; of tasks that one that is meant, as `task cats`."""

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
                message=told(kind, self._counts[kind]),
                rows=tuple(self.rows(kind)),
            )
            for kind, (severity, _) in KINDS.items()
            if self._counts.get(kind)
        )


def told(kind: str, count: int | Literal["N"]) -> str:
    """Give in words that there are `count` of `kind`; "N" stands for a number that is not told."""
    _, words = KINDS[kind]
    return _FORMS.sub(r"\1" if count == 1 else r"\2", words).format(count=count)


def rows_of(count: int, kind: str = "") -> str:
    """Give `1 row`, `3 rows`; `kind` says which, as `answered`."""
    return f"{count} {kind}{' ' if kind else ''}row{'' if count == 1 else 's'}"


def joined(places: Iterable[str]) -> str:
    """Give places such as `s3://bucket/key: row 7` in one text that names each object once."""
    rows_by_uri: dict[str, list[str]] = {}
    for place in places:
        uri, _, row = place.rpartition(": row ")
        rows_by_uri.setdefault(uri, []).append(row)
    return "; ".join(f"{uri}: row{'s' if len(rows) > 1 else ''} {', '.join(rows)}" for uri, rows in rows_by_uri.items())


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


def note_learning_rate(found: Findings, rate: float | None) -> None:
    """Warn of a rate that is allowed and changes no weight; None is one that a probe will find."""
    if rate == 0:
        found.add("zero_learning_rate")
