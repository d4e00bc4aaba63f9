"""Holds out validation rows: a share of each class, or of all rows, the same ones each time for the same seed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gyropilot.errors import InvalidData

Rows = npt.NDArray[np.int64]


def stratified(classes: npt.NDArray[np.int64], fraction: float, seed: int) -> tuple[Rows, Rows]:
    """Give the rows of training and of validation, ascending, each with about the same share of every class.

    A class with two rows or more has at least one on each side; the only row of a class is trained on.

    Args:
        classes: [row], class numbers.
        fraction: share of validation rows, in (0, 1).
        seed: what the choice depends on, beside the classes.

    Raises:
        InvalidData: one side would be empty.
    """
    draw = np.random.RandomState(seed)  # its stream is promised to stay the same
    held_out = np.zeros(len(classes), dtype=bool)
    for one in np.unique(classes):
        members = draw.permutation(np.flatnonzero(classes == one))
        if len(members) > 1:
            wanted = min(max(round(len(members) * fraction), 1), len(members) - 1)
            held_out[members[:wanted]] = True
    return _sides(held_out, fraction)


def random(rows: int, fraction: float, seed: int) -> tuple[Rows, Rows]:
    """Give the rows of training and of validation, ascending.

    Args:
        rows: number of rows.
        fraction: share of validation rows, in (0, 1).
        seed: what the choice depends on, and nothing else.

    Raises:
        InvalidData: one side would be empty.
    """
    held_out = np.zeros(rows, dtype=bool)
    if rows > 1:
        wanted = min(max(round(rows * fraction), 1), rows - 1)
        held_out[np.random.RandomState(seed).permutation(rows)[:wanted]] = True
    return _sides(held_out, fraction)


def _sides(held_out: npt.NDArray[np.bool_], fraction: float) -> tuple[Rows, Rows]:
    training, validation = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    if not len(training) or not len(validation):
        raise InvalidData(
            where="training channel",
            found=f"{len(held_out)} usable rows",
            problem=f"too few to hold out {fraction:g} of them and train on the others",
            fix="give more rows, two of a class at least, or a validation channel",
        )
    return training, validation
