"""The quality of a model in numbers, under the keys of the service's model-quality statistics.

Each number stands with its standard deviation: that of five random draws of 80 % of the rows, "NaN" where there are
fewer than 200. Where the job has sample weights, all of it is weighted but the counts of the confusion matrix.
"""

from __future__ import annotations

import contextlib
import math
import statistics
from collections.abc import Callable
from typing import TYPE_CHECKING

from gyropilot.problems.contract import Json
from gyropilot.problems.tabular.columns import Schema
from gyropilot.problems.tabular.reports import curves
from gyropilot.problems.tabular.reports.answers import Answers

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Rows = npt.NDArray[np.int64]

LEAST_ROWS = 200
"""Rows below which no standard deviation is given."""
SECTIONS = {
    "Regression": "regression_metrics",
    "BinaryClassification": "binary_classification_metrics",
    "MulticlassClassification": "multiclass_classification_metrics",
}
_DRAWS, _SHARE, _SEED = 5, 0.8, 0
_BETAS = {"f0_5": 0.5, "f1": 1.0, "f2": 2.0}


def quality(schema: Schema, answers: Answers) -> dict[str, Json]:
    """Give the section of the problem type: numbers, and of classifications the confusion matrix and the curves."""
    measure = {
        "Regression": _regression,
        "BinaryClassification": _binary,
        "MulticlassClassification": _multiclass,
    }[schema.problem_type]
    found: dict[str, Json] = {}
    if not schema.is_regression:
        found["confusion_matrix"] = _written_matrix(schema, confusion(answers, len(schema.labels)))
    found |= _with_deviations(answers, lambda rows: measure(answers, rows, len(schema.labels)))
    if schema.problem_type == "BinaryClassification":
        found["receiver_operating_characteristic_curve"] = curves.roc(answers)
        found["precision_recall_curve"] = curves.precision_recall(answers)
    return found


def confusion(answers: Answers, classes: int) -> npt.NDArray[np.int64]:
    """Count rows: [actual class, predicted class]."""
    import numpy as np

    return np.asarray(_table(answers, np.arange(answers.rows), classes, is_weighted=False), dtype=np.int64)


def _with_deviations(answers: Answers, measure: Callable[[Rows], dict[str, float]]) -> dict[str, Json]:
    import numpy as np

    everything = measure(np.arange(answers.rows))
    draws: list[dict[str, float]] = []
    if answers.rows >= LEAST_ROWS:
        random = np.random.default_rng(_SEED)
        size = int(_SHARE * answers.rows)
        draws = [measure(random.choice(answers.rows, size, replace=False)) for _ in range(_DRAWS)]
    return {
        name: {
            "value": _finite(value),
            "standard_deviation": _finite(_deviation([one[name] for one in draws])),
        }
        for name, value in everything.items()
    }


def _deviation(values: list[float]) -> float:
    return statistics.stdev(values) if values and all(map(math.isfinite, values)) else math.nan


def _regression(answers: Answers, rows: Rows, _classes: int) -> dict[str, float]:
    import numpy as np

    from gyropilot.metrics import regression
    from gyropilot.metrics.weighted_mean import Undefined

    measures = {
        "mae": regression.mean_absolute_error,
        "mse": regression.mean_squared_error,
        "rmse": regression.root_mean_squared_error,
        "r2": regression.r2,
    }
    truth, predicted = (one[rows].astype(np.float64) for one in (answers.truth, answers.predicted))
    found = dict.fromkeys(measures, math.nan)
    for name, measure in measures.items():
        with contextlib.suppress(Undefined), np.errstate(over="ignore", invalid="ignore"):
            found[name] = measure(truth, predicted, _weights(answers, rows))
    return found


def _binary(answers: Answers, rows: Rows, _classes: int) -> dict[str, float]:
    (right_negative, false_positive), (false_negative, right_positive) = _table(answers, rows, 2).tolist()
    positive, negative = right_positive + false_negative, right_negative + false_positive
    total, said = positive + negative, right_positive + false_positive
    recall, precision = _ratio(right_positive, positive), _ratio(right_positive, said)
    always = _ratio(positive, total)
    """Precision of the model that always answers the positive class; its recall is 1."""
    scores = {
        "recall": recall,
        "precision": precision,
        "accuracy": _ratio(right_positive + right_negative, total),
        "recall_best_constant_classifier": 1.0 if positive else 0.0,
        "precision_best_constant_classifier": always,
        "accuracy_best_constant_classifier": max(always, 1 - always),
        "true_positive_rate": recall,
        "true_negative_rate": _ratio(right_negative, negative),
        "false_positive_rate": _ratio(false_positive, negative),
        "false_negative_rate": _ratio(false_negative, positive),
        "auc": curves.auc(answers, rows),
        "au_prc": curves.average_precision(answers, rows),
    }
    scores |= {name: f_score(precision, recall, beta) for name, beta in _BETAS.items()}
    constant = {name: f_score(always, 1.0 if positive else 0.0, beta) for name, beta in _BETAS.items()}
    return scores | {f"{name}_best_constant_classifier": value for name, value in constant.items()}


def _multiclass(answers: Answers, rows: Rows, classes: int) -> dict[str, float]:
    import numpy as np

    table = _table(answers, rows, classes)
    support, said, total = table.sum(axis=1), table.sum(axis=0), float(table.sum())
    constant = np.zeros_like(table)
    constant[:, int(support.argmax())] = support
    found = _weighted_scores(table, support, said, total)
    best = _weighted_scores(constant, support, constant.sum(axis=0), total)
    return found | {f"{name}_best_constant_classifier": value for name, value in best.items()}


def _weighted_scores(table: Floats, support: Floats, said: Floats, total: float) -> dict[str, float]:
    """Give the scores of a table of counts; means over the classes, each as much as it has rows."""
    hits = table.diagonal()
    precision = [_ratio(one, of) for one, of in zip(hits, said, strict=True)]
    recall = [_ratio(one, of) for one, of in zip(hits, support, strict=True)]

    def mean(values: list[float]) -> float:
        return _ratio(sum(value * count for value, count in zip(values, support, strict=True)), total)

    scores = {
        "accuracy": _ratio(float(hits.sum()), total),
        "weighted_recall": mean(recall),
        "weighted_precision": mean(precision),
    }
    for name, beta in _BETAS.items():
        scores[f"weighted_{name}"] = mean([f_score(p, r, beta) for p, r in zip(precision, recall, strict=True)])
    return scores


def f_score(precision: float, recall: float, beta: float) -> float:
    """Give (1 + beta²) precision recall / (beta² precision + recall); 0 where both are."""
    below = beta**2 * precision + recall
    return (1 + beta**2) * precision * recall / below if below else 0.0


def _table(answers: Answers, rows: Rows, classes: int, *, is_weighted: bool = True) -> Floats:
    import numpy as np

    places = answers.truth[rows].astype(np.int64) * classes + answers.predicted[rows].astype(np.int64)
    weights = _weights(answers, rows) if is_weighted else None
    return np.bincount(places, weights=weights, minlength=classes * classes).reshape(classes, classes).astype(float)


def _weights(answers: Answers, rows: Rows) -> Floats | None:
    return None if answers.weights is None else answers.weights[rows]


def _written_matrix(schema: Schema, counts: npt.NDArray[np.int64]) -> dict[str, dict[str, int]]:
    return {
        actual: {predicted: int(counts[row, column]) for column, predicted in enumerate(schema.labels)}
        for row, actual in enumerate(schema.labels)
    }


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0


def _finite(value: float) -> float | str:
    return value if math.isfinite(value) else "NaN"
