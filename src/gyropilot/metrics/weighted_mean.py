"""The mean of rows that may count differently, and the error of a metric that the rows do not define."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Undefined(ValueError):
    """The rows do not define the metric; the message says why."""


def weighted_mean(values: Floats, weights: Floats | None) -> float:
    """Give the mean of `values` [row], each counted by its weight [row]; None: alike.

    Raises:
        Undefined: there is no row, or none that counts.
    """
    if not len(values):
        raise Undefined("there are no rows")
    if weights is None:
        return float(values.mean())
    total = weights.sum()
    if total <= 0:
        raise Undefined("the weights of all rows are 0")
    return float((values * weights).sum() / total)
