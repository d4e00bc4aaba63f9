"""Splits rows into training and validation, the same way each time for the same seed."""

from __future__ import annotations

import math
from random import Random

from gyropilot.errors import InvalidData


def split(row_count: int, fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """Give the indices of training and of validation rows, each ascending, disjoint, together all rows.

    Args:
        row_count: rows to split.
        fraction: share of validation rows, in (0, 1); their number is rounded up.
        seed: what the choice depends on, and nothing else.

    Raises:
        InvalidData: one side would be empty.
    """
    validation_count = math.ceil(round(row_count * fraction, 9))
    training_count = row_count - validation_count
    if training_count < 1 or validation_count < 1:
        raise InvalidData(
            where="training channel",
            found=f"{row_count} usable rows",
            problem=f"too few to hold out {fraction:g} of them: {max(training_count, 0)} would be left to train on, "
            f"{validation_count} to validate on",
            fix="give more rows, a lower ValidationFraction, or a validation channel",
        )
    draw = Random(seed)  # of Python's generators, random() alone is promised to stay the same
    keys = [draw.random() for _ in range(row_count)]
    order = sorted(range(row_count), key=keys.__getitem__)
    return sorted(order[validation_count:]), sorted(order[:validation_count])
