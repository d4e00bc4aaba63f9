"""The metrics of classification: pure functions of actual classes, predicted classes and probabilities.

Imports numpy, so only processes that compute import this; standard_metrics.py has names and directions. Shapes: [row]
for classes (int64 class numbers, from 0) and weights (float64, not negative), [row, class] for probabilities. Without
weights rows count alike. A metric that the rows do not define raises Undefined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from gyropilot.metrics.weighted_mean import Undefined, weighted_mean

Floats = npt.NDArray[np.float64]
Classes = npt.NDArray[np.int64]

CALIBRATED = ("Accuracy", "BalancedAccuracy", "F1")
"""Metrics for which a threshold is sought. Precision and Recall alone are best where nearly nothing, or everything, is
called positive, which serves nobody: they keep 0.5."""


@dataclass(frozen=True, kw_only=True)
class Cuts:
    """What calling the rows from a score on positive gives, for every score that tells rows apart.

    Made by `cuts`; the first cut calls no row positive, the last all.
    """

    thresholds: Floats
    """[cut], descending, the first infinite: the lowest score that is called positive."""
    true_positives: Floats
    """[cut], ascending: rows, or their weights."""
    false_positives: Floats
    """[cut], ascending."""

    @property
    def positives(self) -> float:
        """How many rows are positive, or their weights."""
        return float(self.true_positives[-1])

    @property
    def negatives(self) -> float:
        """How many rows are negative, or their weights."""
        return float(self.false_positives[-1])


def accuracy(actual: Classes, predicted: Classes, weights: Floats | None = None) -> float:
    """Share of rows whose class is predicted, 0 to 1."""
    return weighted_mean((actual == predicted).astype(np.float64), weights)


def balanced_accuracy(actual: Classes, predicted: Classes) -> float:
    """Mean share of each class's rows that is predicted, over the classes that occur; 0 to 1, weights do not count."""
    found, _, occurs = _counts(actual, predicted, None)
    return float((found / np.maximum(occurs, 1))[occurs > 0].mean())


def precision(actual: Classes, predicted: Classes, weights: Floats | None = None) -> float:
    """Share of the rows called positive that are; class 1 is positive; 0 where none is called so."""
    return float(_precisions(*_counts(actual, predicted, weights, least=2))[1])


def recall(actual: Classes, predicted: Classes, weights: Floats | None = None) -> float:
    """Share of the positive rows that are called so; class 1 is positive; 0 where there is none."""
    return float(_recalls(*_counts(actual, predicted, weights, least=2))[1])


def f1(actual: Classes, predicted: Classes, weights: Floats | None = None) -> float:
    """Harmonic mean of precision and recall of class 1; 0 where no row is positive nor called so."""
    return float(_f1s(*_counts(actual, predicted, weights, least=2))[1])


def precision_macro(actual: Classes, predicted: Classes, weights: Floats | None = None) -> float:
    """Mean of the classes' precisions, over those that occur or are predicted."""
    return _macro(_precisions, actual, predicted, weights)


def recall_macro(actual: Classes, predicted: Classes, weights: Floats | None = None) -> float:
    """Mean of the classes' recalls, over those that occur or are predicted."""
    return _macro(_recalls, actual, predicted, weights)


def f1_macro(actual: Classes, predicted: Classes, weights: Floats | None = None) -> float:
    """Mean of the classes' F1, over those that occur or are predicted."""
    return _macro(_f1s, actual, predicted, weights)


def log_loss(actual: Classes, probabilities: Floats, weights: Floats | None = None) -> float:
    """Mean of -ln(probability of the true class), in nats; probabilities are kept off 0 by the precision of float64."""
    least = np.finfo(np.float64).eps
    of_actual = np.take_along_axis(probabilities, actual[:, None], axis=1)[:, 0]
    return weighted_mean(-np.log(np.clip(of_actual, least, 1 - least)), weights)


def auc(actual: Classes, positive: Floats, weights: Floats | None = None) -> float:
    """Area under the curve of true over false positive rate; ties count half; 0.5 is chance.

    Args:
        actual: [row], 1 is positive.
        positive: [row], probability of class 1, or any score that rises with it.
        weights: [row].

    Raises:
        Undefined: all rows are of one class.
    """
    curve = cuts(actual, positive, weights)
    if not curve.positives or not curve.negatives:
        raise Undefined("every row is of the same class, so there is nothing to tell apart")
    area = np.trapezoid(curve.true_positives, curve.false_positives)
    return float(area / (curve.positives * curve.negatives))


def cuts(actual: Classes, positive: Floats, weights: Floats | None = None) -> Cuts:
    """Give the counts at every cut of the scores: what ROC, precision-recall and thresholds are made of.

    Args:
        actual: [row], 1 is positive.
        positive: [row], probability of class 1.
        weights: [row].
    """
    order = np.argsort(-positive, kind="stable")
    scores = positive[order]
    weight = np.ones(len(order)) if weights is None else weights[order]
    is_positive = actual[order] == 1
    last_of_score = np.flatnonzero(np.append(np.diff(scores) != 0, True)) if len(scores) else np.empty(0, np.int64)
    true = np.cumsum(np.where(is_positive, weight, 0.0))[last_of_score]
    false = np.cumsum(np.where(is_positive, 0.0, weight))[last_of_score]
    return Cuts(
        thresholds=np.concatenate([[np.inf], scores[last_of_score]]),
        true_positives=np.concatenate([[0.0], true]),
        false_positives=np.concatenate([[0.0], false]),
    )


def best_threshold(
    metric: Literal["Accuracy", "BalancedAccuracy", "F1"],
    actual: Classes,
    positive: Floats,
    weights: Floats | None = None,
) -> float:
    """Give the probability of class 1 from which on rows should be called so, for the metric to be greatest.

    It lies midway between two scores; of equally good ones it is the nearest to 0.5, and 0.5 itself where that is as
    good as any. Give it rows that the model was not trained on, and other ones than those it is judged by.

    Args:
        metric: one of CALIBRATED.
        actual: [row], 1 is positive.
        positive: [row], probability of class 1.
        weights: [row]; BalancedAccuracy takes no notice of them.
    """
    curve = cuts(actual, positive, None if metric == "BalancedAccuracy" else weights)
    if not curve.positives or not curve.negatives:
        return 0.5
    values = _METRIC_OF_CUTS[metric](curve)
    between = _midway(curve.thresholds)
    at_half = values[np.searchsorted(-curve.thresholds, -0.5, side="right") - 1]
    best = values.max()
    if np.isclose(at_half, best, rtol=0, atol=1e-12):
        return 0.5
    candidates = between[np.isclose(values, best, rtol=0, atol=1e-12)]
    return float(candidates[np.abs(candidates - 0.5).argmin()])


def _midway(thresholds: Floats) -> Floats:
    """Give a threshold for each cut: halfway down to the next lower score, or to 0; of the first cut above all."""
    scores = np.concatenate([[np.nextafter(1.0, 2.0)], thresholds[1:]])
    lower = np.append(scores[1:], 0.0)
    middle = (scores + lower) / 2
    # Of two neighbouring floats the middle may be the lower one, which would call its rows positive too.
    return np.where(middle > lower, middle, scores)


def _accuracies(curve: Cuts) -> Floats:
    right = curve.true_positives + curve.negatives - curve.false_positives
    return np.asarray(right / (curve.positives + curve.negatives))


def _balanced(curve: Cuts) -> Floats:
    return np.asarray((curve.true_positives / curve.positives + 1 - curve.false_positives / curve.negatives) / 2)


def _f1_of_cuts(curve: Cuts) -> Floats:
    return np.asarray(2 * curve.true_positives / (curve.true_positives + curve.false_positives + curve.positives))


_METRIC_OF_CUTS: Mapping[str, Callable[[Cuts], Floats]] = {
    "Accuracy": _accuracies,
    "BalancedAccuracy": _balanced,
    "F1": _f1_of_cuts,
}


def _counts(
    actual: Classes, predicted: Classes, weights: Floats | None, *, least: int = 0
) -> tuple[Floats, Floats, Floats]:
    """Give, by class, the weight of rows rightly predicted, of rows predicted, and of rows that are of it."""
    if not len(actual):
        raise Undefined("there are no rows")
    classes = max(least, int(max(actual.max(), predicted.max())) + 1)
    is_right = actual == predicted
    weight = np.ones(len(actual)) if weights is None else weights
    found, called, occurs = (
        np.asarray(np.bincount(rows, weights=counts, minlength=classes), dtype=np.float64)
        for rows, counts in ((actual[is_right], weight[is_right]), (predicted, weight), (actual, weight))
    )
    return found, called, occurs


def _precisions(found: Floats, called: Floats, _occurs: Floats) -> Floats:
    return _ratio(found, called)


def _recalls(found: Floats, _called: Floats, occurs: Floats) -> Floats:
    return _ratio(found, occurs)


def _f1s(found: Floats, called: Floats, occurs: Floats) -> Floats:
    return _ratio(2 * found, called + occurs)


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _macro(
    by_class: Callable[[Floats, Floats, Floats], Floats], actual: Classes, predicted: Classes, weights: Floats | None
) -> float:
    values = by_class(*_counts(actual, predicted, weights))
    return float(values[np.union1d(actual, predicted)].mean())
