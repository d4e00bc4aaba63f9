"""What the algorithm's container answers of a classification, read by the one that gives labels their names.

text/csv                1,0.83,"[0.17, 0.83]"           in the order of SAGEMAKER_INFERENCE_INPUT
application/json        {"predictions": [{"predicted_label": 1, ...}, ...]}
application/jsonlines   an object a line
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from gyropilot.errors import InvalidRequest
from gyropilot.problems.contract import Json
from gyropilot.problems.tabular.serving.environment import INPUT, OUTPUT, Output
from gyropilot.problems.tabular.serving.media_types import CSV, JSON, MediaType

_FIX = f"name the same in {OUTPUT} of the container before and in {INPUT} of this one, in the same order"


def read(body: bytes, media_type: MediaType, inputs: Sequence[Output], *, class_count: int) -> list[list[Json]]:
    """Give the values of each input, row by row: class numbers, probabilities, lists of probabilities.

    Raises:
        InvalidRequest: the body is of another form, or holds something else.
    """
    try:
        rows = [_checked(row, inputs, class_count) for row in _rows(body, media_type, inputs)]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, csv.Error) as error:
        raise InvalidRequest(
            where=INPUT, found=",".join(inputs), problem=f"is not what comes: {_told(error)}", fix=_FIX
        ) from error
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in inputs]


def _rows(body: bytes, media_type: MediaType, inputs: Sequence[Output]) -> list[list[Json]]:
    text = body.decode("utf-8")
    if media_type == CSV:
        return [[json.loads(cell) for cell in row] for row in csv.reader(io.StringIO(text, newline=""), strict=True)]
    if media_type == JSON:
        objects = json.loads(text)["predictions"]
    else:
        objects = [json.loads(line) for line in text.split("\n") if line.strip()]
    return [[one[name] for name in inputs] for one in objects]


def _checked(row: list[Json], inputs: Sequence[Output], class_count: int) -> list[Json]:
    if len(row) != len(inputs):
        raise ValueError(f"a row has {len(row)} values")
    for name, value in zip(inputs, row, strict=True):
        if name == "predicted_label":
            is_right = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < class_count
        elif name == "probability":
            is_right = _is_probability(value)
        else:
            is_right = isinstance(value, list) and len(value) == class_count and all(map(_is_probability, value))
        if not is_right:
            raise ValueError(f"{json.dumps(value)[:60]} is no {name}")
    return row


def _is_probability(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _told(error: Exception) -> str:
    return f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error).splitlines()[0][:200]
