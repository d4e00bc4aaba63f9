"""The curves of a binary classifier: ROC, precision-recall, gain and lift; the second label is the positive one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gyropilot.problems.tabular.reports.answers import Answers

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Rows = npt.NDArray[np.int64]

_POINTS = 400
"""Most points of a curve; of longer ones every so many are kept, the first and the last among them."""


def roc(answers: Answers) -> dict[str, list[float]]:
    """Give false and true positive rates by falling threshold; empty where one class is not among the rows."""
    from sklearn.metrics import roc_curve

    if not _has_both(answers):
        return {"false_positive_rates": [], "true_positive_rates": []}
    false_rates, true_rates, _ = roc_curve(answers.truth, _scores(answers), sample_weight=answers.weights)
    return {"false_positive_rates": _thinned(false_rates), "true_positive_rates": _thinned(true_rates)}


def precision_recall(answers: Answers) -> dict[str, list[float]]:
    """Give precisions and recalls by rising threshold; empty where one class is not among the rows."""
    from sklearn.metrics import precision_recall_curve

    if not _has_both(answers):
        return {"precisions": [], "recalls": []}
    precisions, recalls, _ = precision_recall_curve(answers.truth, _scores(answers), sample_weight=answers.weights)
    return {"precisions": _thinned(precisions), "recalls": _thinned(recalls)}


def gain(answers: Answers) -> dict[str, list[float]]:
    """Give what share of the positive rows is found in the share of rows that the model ranks highest.

    `lifts` is that against a random choice of as many rows: gain / share.
    """
    import numpy as np

    weights = np.ones(answers.rows) if answers.weights is None else answers.weights
    order = np.argsort(-_scores(answers), kind="stable")
    shares = np.cumsum(weights[order]) / weights.sum()
    found = np.cumsum((weights * answers.truth)[order])
    if not found[-1]:
        return {"shares": [], "gains": [], "lifts": []}
    gains = found / found[-1]
    lifts = gains / np.maximum(shares, 1e-12)
    return {"shares": _thinned(shares), "gains": _thinned(gains), "lifts": _thinned(lifts)}


def auc(answers: Answers, rows: Rows) -> float:
    """Give the area under the ROC curve of some rows; NaN where one class is not among them."""
    import numpy as np

    from gyropilot.metrics import classification
    from gyropilot.metrics.weighted_mean import Undefined

    weights = None if answers.weights is None else answers.weights[rows]
    try:
        return classification.auc(answers.truth[rows].astype(np.int64), _scores(answers)[rows], weights)
    except Undefined:
        return math.nan


def average_precision(answers: Answers, rows: Rows) -> float:
    """Give the area under the precision-recall curve of some rows, as mean precision; NaN where one class lacks."""
    from sklearn.metrics import average_precision_score

    if not _has_both(answers, rows):
        return math.nan
    weights = None if answers.weights is None else answers.weights[rows]
    return float(average_precision_score(answers.truth[rows], _scores(answers)[rows], sample_weight=weights))


def _scores(answers: Answers) -> npt.NDArray[np.float64]:
    assert answers.probabilities is not None
    return answers.probabilities[:, 1]


def _has_both(answers: Answers, rows: Rows | None = None) -> bool:
    """Say whether rows of both classes count."""
    import numpy as np

    chosen = np.arange(answers.rows) if rows is None else rows
    if answers.weights is not None:
        chosen = chosen[answers.weights[chosen] > 0]
    return len(np.unique(answers.truth[chosen])) == 2


def _thinned(values: npt.NDArray[np.float64]) -> list[float]:
    import numpy as np

    if len(values) > _POINTS:
        values = values[np.linspace(0, len(values) - 1, _POINTS).round().astype(np.int64)]
    return [float(one) for one in values]
