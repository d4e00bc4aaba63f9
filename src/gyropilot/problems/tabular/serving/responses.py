"""Predictions to the body of an answer: which of their parts, in which order and form; every container writes by it.

    text/csv                a line a row: yes,0.83,"[0.17, 0.83]","[""no"", ""yes""]"; lists are JSON
    application/json        {"predictions": [{"predicted_label": "yes", "probability": 0.83}, ...]}
    application/jsonlines   an object a line

A regression has one part, `score`. Numbers are written so that reading them gives the same bits.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from gyropilot.problems.contract import Json, Reply
from gyropilot.problems.tabular.models import labels_of
from gyropilot.problems.tabular.serving.environment import Output
from gyropilot.problems.tabular.serving.media_types import CSV, JSON, MediaType

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SCORE = "score"
ProbabilityOf = Literal["predicted", "positive"]
"""Whose probability `probability` is where there are two classes: that of the predicted one, or of the positive one."""


class ReplyWriter:
    """One answer, written as its rows come."""

    def __init__(self, media_type: MediaType, names: Sequence[str]) -> None:
        """`names` are the parts of each row's prediction, in the order of the answer."""
        self._media_type, self._names = media_type, tuple(names)
        self._text = io.StringIO()
        self._cells = csv.writer(self._text, lineterminator="\n")
        self._count = 0

    def add(self, columns: Sequence[Sequence[Json]]) -> None:
        """Write some rows; `columns` has for each name the values of these rows."""
        for values in zip(*columns, strict=True):
            if self._media_type == CSV:
                self._cells.writerow([_cell(one) for one in values])
            else:
                self._add_object(dict(zip(self._names, values, strict=True)))
            self._count += 1

    def finish(self) -> Reply:
        """Give the whole answer."""
        if self._media_type == JSON:
            self._text.write("]}" if self._count else '{"predictions": []}')
        return Reply(body=self._text.getvalue().encode("utf-8"), content_type=self._media_type)

    def _add_object(self, prediction: Json) -> None:
        text = json.dumps(prediction, ensure_ascii=False, allow_nan=False)
        if self._media_type == JSON:
            self._text.write((", " if self._count else '{"predictions": [') + text)
        else:
            self._text.write(text + "\n")


def of_classes(
    probabilities: npt.NDArray[np.float64],
    *,
    outputs: Sequence[Output],
    labels: tuple[str, ...],
    threshold: float,
    probability_of: ProbabilityOf,
    names: Sequence[Json],
) -> list[list[Json]]:
    """Give each output's values of some rows.

    Args:
        probabilities: [row, class].
        outputs: which are wanted, in order.
        labels: the classes, in their order; what `labels` gives.
        threshold: of the second class's probability, where there are two.
        probability_of: see there.
        names: what `predicted_label` says for each class: its label, or its number.
    """
    classes = labels_of(probabilities, labels, threshold)
    columns: list[list[Json]] = []
    for output in outputs:
        if output == "predicted_label":
            columns.append([names[one] for one in classes])
        elif output == "probabilities":
            columns.append(probabilities.tolist())
        elif output == "labels":
            columns.append([list(labels)] * len(classes))
        elif probability_of == "positive" and len(labels) == 2:
            columns.append(probabilities[:, 1].tolist())
        else:
            columns.append([row[one] for row, one in zip(probabilities.tolist(), classes, strict=True)])
    return columns


def _cell(value: Json) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
