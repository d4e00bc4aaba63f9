"""Which columns of a channel say what: input and output, by either pair of names, a row's task, fields of a verbalizer.

input, output     what is asked, and what is to be answered
text, labels      the same; labels are joined by commas, and may be written as a JSON list: ["billing","urgent"]
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gyropilot.data.frames import Channel, column_names
from gyropilot.problems.text_generation import verbalizer
from gyropilot.problems.text_generation.tuning.specification import TuningSpec

PAIRS = (("input", "output"), ("text", "labels"))
_LABELS = "labels"


@dataclass(frozen=True, kw_only=True)
class RowText:
    """What one row says."""

    input: str
    output: str
    task: str
    """Without the spaces around it; empty where no column names tasks."""
    fields: Mapping[str, str]
    """What the verbalizer names beside the input."""


@dataclass(frozen=True, kw_only=True)
class RowColumns:
    """The columns of one channel; all are wanted, and none beside them."""

    input: str
    output: str
    task: str | None
    fields: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Each column once."""
        task = () if self.task is None else (self.task,)
        return tuple(dict.fromkeys((self.input, self.output, *task, *self.fields)))

    def read(self, values: Sequence[str | None]) -> RowText:
        """Give what a row says whose values are in the order of `names`; nothing is as good as an empty text."""
        said = {name: value or "" for name, value in zip(self.names, values, strict=True)}
        answer = said[self.output]
        return RowText(
            input=said[self.input],
            output=_joined(answer) if self.output == _LABELS else answer,
            task="" if self.task is None else said[self.task].strip(),
            fields={name: said[name] for name in self.fields},
        )

    def texts(self, row: RowText) -> list[tuple[str, str]]:
        """Give the texts that are learned, each with its column."""
        return [(self.input, row.input), (self.output, row.output), *row.fields.items()]


def columns_of(channel: Channel, method: TuningSpec) -> RowColumns:
    """Give the columns that a channel must have; which pair of names it has is seen in its first file."""
    found = column_names(channel)
    pair = PAIRS[1] if set(PAIRS[1]) & set(found) and not set(PAIRS[0]) & set(found) else PAIRS[0]
    named = () if method.verbalizer is None else verbalizer.fields(method.verbalizer)
    fields = tuple(name for name in named if name != verbalizer.INPUT)
    return RowColumns(input=pair[0], output=pair[1], task=method.task_column, fields=fields)


def _joined(labels: str) -> str:
    """Give labels joined by commas; text that is no JSON list of texts as it stands."""
    if not labels.lstrip().startswith("["):
        return labels
    try:
        values = json.loads(labels)
    except (ValueError, RecursionError):
        return labels
    are_texts = isinstance(values, list) and all(isinstance(one, str) for one in values)
    return ",".join(values) if are_texts else labels
