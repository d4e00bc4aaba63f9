"""What the three algorithms of this mode have in common: they learn from a fold's rows, and predict, save and load.

Each algorithm is a file of its own with `learn` and `load`; it imports its library when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.sparse

from gyropilot.errors import TrainingFailed
from gyropilot.problems.contract import Json

Floats = npt.NDArray[np.float64]
Matrix: TypeAlias = npt.NDArray[np.float32] | scipy.sparse.csr_matrix
Target = npt.NDArray[np.int64] | npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows to learn from or to check on."""

    matrix: Matrix
    """[row, feature], float32."""
    target: Target
    """[row]: class numbers, or the numbers to be estimated."""


@dataclass(frozen=True, kw_only=True)
class Learning:
    """What every algorithm is told beside its settings."""

    classes: int
    """Number of classes; 0: a regression."""
    objective: str
    """StandardMetricName; chooses the loss."""
    seed: int
    threads: int
    is_over: Callable[[], bool]
    """Asked between steps of some milliseconds to seconds; once it is True, learning ends with what it has."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """How long a model trained until it gained no more: another one can be trained alike, without rows that tell."""

    steps: int
    """Rounds or epochs up to the best one; 0: the algorithm knows none."""
    rates: tuple[float, ...] = ()
    """The learning rate of each step, where it changes on the way."""


class FoldModel(Protocol):
    """One algorithm, trained on the rows of one fold; may be called from several threads."""

    @property
    def course(self) -> Course:
        """How its training went; of a model that was loaded, nothing is known of rates."""

    def predict(self, matrix: Matrix) -> Floats:
        """Give [row] estimates of a regression, else [row, class] probabilities."""

    def save(self, folder: Path) -> None:
        """Write the model into a folder that is there and empty."""


def learn(
    algorithm: str, train: Rows, until: Rows | Course, settings: Mapping[str, Json], learning: Learning
) -> FoldModel:
    """Train an algorithm on `train`.

    Args:
        algorithm: its name.
        train: what it learns from.
        until: rows that decide how long, or how long it is.
        settings: of the algorithm.
        learning: what every algorithm is told.

    Raises:
        TrainingFailed: no algorithm of that name.
    """
    model: FoldModel = _module(algorithm).learn(train, until, settings, learning)
    return model


def middle(courses: Sequence[Course]) -> Course:
    """Give the one of middle length; of an even number the longer of two."""
    return sorted(courses, key=lambda one: one.steps)[len(courses) // 2]


def load(algorithm: str, folder: Path) -> FoldModel:
    """Load what `save` wrote.

    Raises:
        TrainingFailed: no algorithm of that name.
    """
    model: FoldModel = _module(algorithm).load(folder)
    return model


def row_weights(target: Target, classes: int, weighting: Json) -> Floats | None:
    """Give weights under which the classes count alike, where `weighting` is "balanced"; [row], of the mean 1."""
    if not classes or weighting != "balanced":
        return None
    numbers = target.astype(np.int64)
    counts = np.bincount(numbers, minlength=classes)
    present = int((counts > 0).sum())
    return np.asarray(len(numbers) / (present * np.maximum(counts, 1))[numbers], dtype=np.float64)


def _module(algorithm: str) -> ModuleType:
    if algorithm == "xgboost":
        from gyropilot.problems.tabular.hpo import boosting

        return boosting
    if algorithm == "linear-learner":
        from gyropilot.problems.tabular.hpo import linear

        return linear
    if algorithm == "mlp":
        from gyropilot.problems.tabular.hpo import mlp

        return mlp
    raise TrainingFailed(f"no algorithm of hyperparameter tuning is called {algorithm!r}")
