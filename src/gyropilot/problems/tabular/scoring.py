"""Measures a model on rows: every metric that is reported, the objective's score, the threshold of two classes.

Called by the training of both modes; one formula for the objective while searching, for ranking and for what Describe
shows. Imports numpy: for children only.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import numpy.typing as npt

from gyropilot import clock
from gyropilot.errors import TrainingFailed
from gyropilot.metrics import classification, regression
from gyropilot.metrics.standard_metrics import REPORTED, STANDARD_METRICS
from gyropilot.metrics.weighted_mean import Undefined
from gyropilot.problems.contract import Direction, Metric, Split
from gyropilot.problems.tabular.columns import Schema
from gyropilot.problems.tabular.models import Model, labels_of
from gyropilot.problems.tabular.tables import Frame

Floats = npt.NDArray[np.float64]
Targets = npt.NDArray[np.int64] | npt.NDArray[np.float64]

MOST_TRAINING_ROWS = 20_000
"""Training rows on which a model is measured; of more, so many are drawn."""
_ROWS_AT_ONCE, _PROBED_ROWS = 20_000, 500
_LATENCY_CALLS, _LATENCY_SECONDS = 30, 2.0


@dataclass(frozen=True, kw_only=True)
class Scored:
    """How good a model is; the fields of TrainResult that tell it."""

    score: float
    score_name: str
    direction: Direction
    metrics: tuple[Metric, ...]
    undefined: Mapping[str, str]
    """Metrics that the validation rows do not define, with the reason."""


def measure(
    model: Model,
    *,
    objective: str,
    validation: Frame,
    training: Frame | None,
    known: Floats | None = None,
    seconds_left: float | None = None,
) -> Scored:
    """Measure a loaded model on validation and training rows.

    Args:
        model: as it will be served. It is asked for all that is measured, unless parts of it learned from the
            validation rows: then `known` stands for its answers to these, and only the latency and the training rows
            are of the whole model.
        objective: the StandardMetricName that ranks candidates.
        validation: every row counts.
        known: [row] or [row, class], of the validation rows in their order, by those parts of the model that did not
            learn from them; None: no part did, so the model is asked.
        training: at most MOST_TRAINING_ROWS of them are used; None: it is measured on validation rows alone.
        seconds_left: training rows are left out where they would take longer than what is left; None: no bound.

    Raises:
        TrainingFailed: the model gives no number for a row, or the validation rows do not define the objective.
        ValueError: `known` is of other rows.
    """
    schema = model.schema
    if known is not None and len(known) != len(validation.target):
        raise ValueError(f"{len(known)} known predictions of {len(validation.target)} validation rows")
    deadline = None if seconds_left is None else clock.monotonic() + seconds_left
    predicted = predict(model, validation) if known is None else _finite(known)
    values, undefined = _values(schema, model.threshold, validation.target, predicted, validation.weights)
    if objective in undefined:
        raise _undefined_objective(objective, undefined[objective])
    metrics = [*_metrics(values, "Validation")]
    metrics.append(Metric(name="InferenceLatency", split="Validation", value=latency(model, validation)))
    if training is not None:
        drawn = _drawn(training)
        if _is_time_for(model, drawn, deadline):
            of_training = predict(model, drawn)
            values_of_training, _ = _values(schema, model.threshold, drawn.target, of_training, drawn.weights)
            metrics += _metrics(values_of_training, "Train")
    return Scored(
        score=values[objective],
        score_name=objective,
        direction=STANDARD_METRICS[objective].direction,
        metrics=tuple(metrics),
        undefined=undefined,
    )


def predict(model: Model, frame: Frame) -> Floats:
    """Give what the model says of each row, some thousand rows at a time.

    Returns:
        [row] numbers of a regression, [row, class] probabilities of a classification.

    Raises:
        TrainingFailed: for a row it gives no finite number.
    """
    rows, ask = len(frame.features), _ask(model)
    starts = range(0, max(rows, 1), _ROWS_AT_ONCE)
    return _finite(np.concatenate([ask(frame.features.iloc[start : start + _ROWS_AT_ONCE]) for start in starts]))


def score(
    metric: str,
    schema: Schema,
    target: Targets,
    predicted: Floats,
    weights: Floats | None = None,
    *,
    threshold: float = 0.5,
) -> float:
    """Give one metric of predictions.

    Args:
        metric: a StandardMetricName of the problem type.
        schema: tells the problem type and the classes.
        target: [row], class numbers or numbers.
        predicted: as `predict` gives it.
        weights: [row].
        threshold: of the second class's probability, where there are two.

    Raises:
        TrainingFailed: the rows do not define the metric.
    """
    try:
        return _functions(schema, threshold, target, predicted, weights)[metric]()
    except Undefined as error:
        raise _undefined_objective(metric, str(error)) from error


def calibrated_threshold(
    objective: str, schema: Schema, target: Targets, predicted: Floats, weights: Floats | None = None
) -> float:
    """Give the probability of the second of two classes from which on it should be the answer, for the objective.

    0.5 where there are not two classes, or the objective does not depend on it in a useful way.

    Args:
        objective: a StandardMetricName.
        schema: tells the problem type.
        target: [row], class numbers.
        predicted: [row, class], of rows that the model was not trained on: out-of-fold predictions, never the
            validation rows by which candidates are ranked.
        weights: [row].
    """
    if schema.problem_type != "BinaryClassification" or objective not in classification.CALIBRATED:
        return 0.5
    metric = cast(Literal["Accuracy", "BalancedAccuracy", "F1"], objective)
    return classification.best_threshold(metric, target.astype(np.int64), predicted[:, 1], weights)


def latency(model: Model, frame: Frame) -> float:
    """Give the median seconds of an answer to one row by itself, of some tens of calls after a first one."""
    rows, ask = len(frame.features), _ask(model)
    ask(frame.features.iloc[:1])
    taken: list[float] = []
    while len(taken) < _LATENCY_CALLS and sum(taken) < _LATENCY_SECONDS:
        at = len(taken) % rows
        row = frame.features.iloc[at : at + 1]
        start = clock.monotonic()
        ask(row)
        taken.append(clock.monotonic() - start)
    return statistics.median(taken)


def _finite(predicted: Floats) -> Floats:
    finite = np.isfinite(predicted) if predicted.ndim == 1 else np.isfinite(predicted).all(axis=1)
    if not finite.all():
        raise TrainingFailed(
            f"The model gives no number for {int((~finite).sum())} of {len(predicted)} rows, so it cannot be used;"
            " numbers of very different sizes in one column may be the cause."
        )
    return predicted


def _ask(model: Model) -> Callable[..., Floats]:
    return model.predict_numbers if model.schema.is_regression else model.predict_probabilities


def _values(
    schema: Schema, threshold: float, target: Targets, predicted: Floats, weights: Floats | None
) -> tuple[dict[str, float], dict[str, str]]:
    """Give the metrics that are reported by name, and the reasons of those that the rows do not define."""
    functions = _functions(schema, threshold, target, predicted, weights)
    values, undefined = {}, {}
    for name in REPORTED[schema.problem_type]:
        try:
            value = functions[name]()
        except Undefined as error:
            undefined[name] = str(error)
            continue
        if np.isfinite(value):
            values[name] = value
        else:
            undefined[name] = f"it is {value}: the numbers of {schema.target!r} are too large for it"
    return values, undefined


def _functions(
    schema: Schema, threshold: float, target: Targets, predicted: Floats, weights: Floats | None
) -> Mapping[str, Callable[[], float]]:
    if schema.is_regression:
        numbers = target.astype(np.float64)
        return {
            "MAE": lambda: regression.mean_absolute_error(numbers, predicted, weights),
            "MSE": lambda: regression.mean_squared_error(numbers, predicted, weights),
            "RMSE": lambda: regression.root_mean_squared_error(numbers, predicted, weights),
            "R2": lambda: regression.r2(numbers, predicted, weights),
        }
    actual = target.astype(np.int64)
    called = labels_of(predicted, schema.labels, threshold)
    return {
        "Accuracy": lambda: classification.accuracy(actual, called, weights),
        "AUC": lambda: classification.auc(actual, predicted[:, 1], weights),
        "BalancedAccuracy": lambda: classification.balanced_accuracy(actual, called),
        "F1": lambda: classification.f1(actual, called, weights),
        "F1macro": lambda: classification.f1_macro(actual, called, weights),
        "LogLoss": lambda: classification.log_loss(actual, predicted, weights),
        "Precision": lambda: classification.precision(actual, called, weights),
        "PrecisionMacro": lambda: classification.precision_macro(actual, called, weights),
        "Recall": lambda: classification.recall(actual, called, weights),
        "RecallMacro": lambda: classification.recall_macro(actual, called, weights),
    }


def _metrics(values: Mapping[str, float], split: Split) -> list[Metric]:
    return [Metric(name=name, split=split, value=value) for name, value in values.items()]


def _is_time_for(model: Model, frame: Frame, deadline: float | None) -> bool:
    """Say whether all rows can be asked before the deadline, going by how long the first of them take."""
    if deadline is None:
        return True
    start, first = clock.monotonic(), frame.features.iloc[:_PROBED_ROWS]
    if start >= deadline:
        return False
    _ask(model)(first)
    now = clock.monotonic()
    return now + (now - start) * len(frame.features) / len(first) < deadline


def _drawn(frame: Frame) -> Frame:
    """Give all rows, or MOST_TRAINING_ROWS of them; always the same."""
    rows = len(frame.target)
    if rows <= MOST_TRAINING_ROWS:
        return frame
    chosen = np.sort(np.random.default_rng(0).choice(rows, MOST_TRAINING_ROWS, replace=False))
    weights = None if frame.weights is None else frame.weights[chosen]
    return Frame(features=frame.features.iloc[chosen], target=frame.target[chosen], weights=weights)


def _undefined_objective(metric: str, why: str) -> TrainingFailed:
    return TrainingFailed(
        f"The objective {metric} cannot be measured on the validation rows: {why}; give a validation channel or a"
        " ValidationFraction with rows of every class, or of different values, or choose another AutoMLJobObjective."
    )
