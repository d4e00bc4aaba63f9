from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as oracle

from gyropilot.metrics import regression
from gyropilot.metrics.weighted_mean import Undefined

RNG = np.random.default_rng(1)
ACTUAL = RNG.normal(1000, 30, 300)
PREDICTED = ACTUAL + RNG.normal(0, 40, 300)
WEIGHTS = RNG.exponential(size=300) * (RNG.random(300) > 0.1)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (regression.mean_absolute_error, oracle.mean_absolute_error),
        (regression.mean_squared_error, oracle.mean_squared_error),
        (regression.root_mean_squared_error, oracle.root_mean_squared_error),
        (regression.r2, oracle.r2_score),
    ],
)
def test_metrics_are_those_of_scikit_learn(ours, theirs, weights):
    expected = theirs(ACTUAL, PREDICTED, sample_weight=weights)
    assert ours(ACTUAL, PREDICTED, weights) == pytest.approx(expected, rel=1e-12)


def test_r2_of_values_without_variance_is_not_defined():
    with pytest.raises(Undefined, match="no variance"):
        regression.r2(np.full(4, 7.0), np.arange(4.0))


def test_without_rows_nothing_is_defined():
    with pytest.raises(Undefined, match="no rows"):
        regression.mean_squared_error(np.empty(0), np.empty(0))
