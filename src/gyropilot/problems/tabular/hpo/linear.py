"""linear-learner: one weight a feature and class, with a quadratic penalty; the loss follows the objective.

logarithmic loss over classes | squared error | (for MAE) a smooth absolute error
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from scipy.optimize import OptimizeResult, minimize
from scipy.special import log_softmax, softmax

from gyropilot.problems.contract import Json
from gyropilot.problems.tabular.hpo.fold_models import Course, Floats, Learning, Matrix, Rows, row_weights
from gyropilot.problems.tabular.hpo.target_scales import TargetScale, scale_of

_WEIGHTS, _NOTE = "linear.npz", "fold.json"
_MOST_STEPS = 200
_SMOOTH = 0.05
"""Where the absolute error turns quadratic, in deviations of the target."""
Gradient = Callable[[Floats], tuple[float, Floats]]


class LinearModel:
    """Weights [feature, output] and intercepts [output]; of two classes one output."""

    def __init__(self, weights: Floats, intercepts: Floats, scale: TargetScale | None) -> None:
        self._weights = weights
        self._intercepts = intercepts
        self._scale = scale

    @property
    def course(self) -> Course:
        """Give none: training goes on until the weights stand still."""
        return Course(steps=0)

    def predict(self, matrix: Matrix) -> Floats:
        """Give estimates or probabilities; see FoldModel."""
        outputs = np.asarray(matrix @ self._weights + self._intercepts, dtype=np.float64)
        if self._scale is not None:
            return self._scale.restored(outputs[:, 0])
        return np.asarray(softmax(outputs, axis=1), dtype=np.float64)

    def save(self, folder: Path) -> None:
        """Write weights and scale."""
        np.savez(folder / _WEIGHTS, weights=self._weights, intercepts=self._intercepts)
        note = None if self._scale is None else self._scale.to_json()
        (folder / _NOTE).write_text(json.dumps({"scale": note}), encoding="utf-8")


def learn(train: Rows, until: Rows | Course, settings: Mapping[str, Json], learning: Learning) -> LinearModel:
    """Find the weights; `until` is not needed, for the penalty holds them. See fold_models.learn."""
    scale = (
        None if learning.classes else scale_of(train.target.astype(np.float64), settings.get("target_scale", "plain"))
    )
    outputs = max(1, learning.classes)
    width = train.matrix.shape[1]
    matrix = train.matrix.astype(np.float64)
    row_weight = row_weights(train.target, learning.classes, settings.get("class_weight"))
    loss = _loss(train, scale, learning, np.ones(len(train.target)) if row_weight is None else row_weight)
    penalty = float(settings["penalty"])

    def total(flat: Floats) -> tuple[float, Floats]:
        weights, intercepts = flat[: width * outputs].reshape(width, outputs), flat[width * outputs :]
        value, gradient = loss(np.asarray(matrix @ weights + intercepts))
        slope = matrix.T @ gradient + penalty * weights
        value += 0.5 * penalty * float((weights**2).sum())
        return value, np.concatenate([np.asarray(slope).ravel(), gradient.sum(axis=0)])

    found = minimize(
        total,
        np.zeros(width * outputs + outputs),
        jac=True,
        method="L-BFGS-B",
        callback=_until(learning),
        options={"maxiter": _MOST_STEPS, "maxcor": 20},
    )
    return LinearModel(found.x[: width * outputs].reshape(width, outputs), found.x[width * outputs :], scale)


def load(folder: Path) -> LinearModel:
    """Read what `save` wrote."""
    note = json.loads((folder / _NOTE).read_text(encoding="utf-8"))
    with np.load(folder / _WEIGHTS, allow_pickle=False) as arrays:
        scale = None if note["scale"] is None else TargetScale(**note["scale"])
        return LinearModel(arrays["weights"], arrays["intercepts"], scale)


def _loss(train: Rows, scale: TargetScale | None, learning: Learning, row_weight: Floats) -> Gradient:
    """Give a function from outputs [row, output] to the mean loss and its gradient [row, output]."""
    share = (row_weight / row_weight.sum())[:, None]
    if scale is None:
        return _class_loss(train.target.astype(np.int64), share)
    wanted = scale.scaled(train.target.astype(np.float64))[:, None]
    if learning.objective == "MAE":

        def absolute(outputs: Floats) -> tuple[float, Floats]:
            error = outputs - wanted
            length = np.sqrt(error**2 + _SMOOTH**2)
            return float((share * length).sum()), share * error / length

        return absolute

    def squared(outputs: Floats) -> tuple[float, Floats]:
        error = outputs - wanted
        return float((0.5 * share * error**2).sum()), share * error

    return squared


def _class_loss(target: np.ndarray[tuple[int, ...], np.dtype[np.int64]], share: Floats) -> Gradient:
    rows = np.arange(len(target))

    def logarithmic(outputs: Floats) -> tuple[float, Floats]:
        logs = log_softmax(outputs, axis=1)
        gradient = np.exp(logs)
        gradient[rows, target] -= 1
        return -float((share[:, 0] * logs[rows, target]).sum()), share * gradient

    return logarithmic


def _until(learning: Learning) -> Callable[[OptimizeResult], None]:
    def after_step(intermediate_result: OptimizeResult) -> None:
        if learning.is_over():
            raise StopIteration

    return after_step
