"""The metrics of regression: pure functions of actual and predicted numbers.

Imports numpy, so only processes that compute import this; standard_metrics.py has names and directions. All arguments
are [row], float64; weights are not negative, and without them rows count alike.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gyropilot.metrics.weighted_mean import Undefined, weighted_mean

Floats = npt.NDArray[np.float64]


def mean_absolute_error(actual: Floats, predicted: Floats, weights: Floats | None = None) -> float:
    """Mean of |actual - predicted|, in the target's unit; 0 is perfect."""
    return weighted_mean(np.abs(actual - predicted), weights)


def mean_squared_error(actual: Floats, predicted: Floats, weights: Floats | None = None) -> float:
    """Mean of (actual - predicted)^2, in the target's unit squared; 0 is perfect."""
    return weighted_mean((actual - predicted) ** 2, weights)


def root_mean_squared_error(actual: Floats, predicted: Floats, weights: Floats | None = None) -> float:
    """Square root of the mean squared error, in the target's unit; 0 is perfect."""
    return float(np.sqrt(mean_squared_error(actual, predicted, weights)))


def r2(actual: Floats, predicted: Floats, weights: Floats | None = None) -> float:
    """Coefficient of determination; 1 is perfect, 0 is as good as the mean, below that there is no bound.

    Raises:
        Undefined: all actual values are the same.
    """
    spread = weighted_mean((actual - weighted_mean(actual, weights)) ** 2, weights)
    if spread == 0:
        raise Undefined("all actual values are the same, so there is no variance to explain")
    return 1.0 - mean_squared_error(actual, predicted, weights) / spread
