"""Trains a candidate's models stage by stage, as long as it is worth it and there is time; fit.py calls it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from gyropilot import clock
from gyropilot.errors import TrainingFailed
from gyropilot.problems.contract import HandBack, Json, Reporter
from gyropilot.problems.tabular import request, scoring
from gyropilot.problems.tabular.columns import Schema
from gyropilot.problems.tabular.hpo import fold_models, study
from gyropilot.problems.tabular.hpo.fold_models import Floats, FoldModel, Learning, Matrix, Rows
from gyropilot.problems.tabular.hpo.folds import Stage
from gyropilot.problems.tabular.hpo.history import FOLD_SCORE, Tried, stage_key
from gyropilot.problems.tabular.hpo.spaces import Settings

Ending = Literal["finished", "time limit", "stop"]
_KEPT_OF_FOLDS, _KEPT_OF_STAGES = 0.5, 1 / 3
"""Share of the candidates that go on after a fold, and after training on a part of the rows."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a candidate trains on and with."""

    schema: Schema
    objective: str
    algorithm: str
    settings: Settings
    matrix: Matrix
    target: fold_models.Target
    stages: Sequence[Stage]
    history: Sequence[Tried]
    seed: int
    deadline: float
    """On clock.monotonic; infinity: none."""


@dataclass(kw_only=True)
class FoldRun:
    """What the stages gave."""

    models: list[FoldModel] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    """The mean score after each stage that has one."""
    checked: list[tuple[Stage, Floats]] = field(default_factory=list)
    """What was predicted of the check rows of the models that count."""
    ended_by: Ending = "finished"
    is_weak: bool = False

    def told(self) -> dict[str, Json]:
        """Give what a search and Describe are told."""
        told: dict[str, Json] = {"models": len(self.models), "stopped_early": self.is_weak}
        told |= {stage_key(place): score for place, score in enumerate(self.scores, start=1)}
        return told | ({FOLD_SCORE: self.scores[-1]} if self.scores else {})


def run(given: Given, reporter: Reporter) -> FoldRun:
    """Train the stages.

    Raises:
        HandBack: the service goes down.
    """
    watch = _Watch(given.deadline, reporter)
    done, each = FoldRun(), list[float]()
    for number, stage in enumerate(given.stages, start=1):
        reporter.progress("training", done=number - 1, total=len(given.stages), unit="models")
        started = clock.monotonic()
        model = _learned(given, stage, number, watch.is_over)
        if watch.is_over() and done.models:
            break  # what was cut short stands back behind what was not
        predicted = model.predict(given.matrix[stage.check])
        if stage.replaces:
            done.models, done.checked = [], []
        done.models.append(model)
        done.checked.append((stage, predicted))
        score = _score(given, stage, predicted)
        if score is not None:
            each.append(score)
            done.scores.append(score if stage.replaces else float(np.mean(each)))
        if number == len(given.stages) or watch.is_over():
            break
        if score is not None and _is_weak(given, number, stage, done.scores[-1]):
            done.is_weak = True
            break
        if clock.monotonic() + (clock.monotonic() - started) > given.deadline:
            watch.ended_by = "time limit"
            break
    done.ended_by = watch.ended_by
    return done


class _Watch:
    """Tells when training should end, and by what."""

    def __init__(self, deadline: float, reporter: Reporter) -> None:
        self._deadline, self._reporter = deadline, reporter
        self.ended_by: Ending = "finished"

    def is_over(self) -> bool:
        """Say so; once over, it stays over."""
        if self._reporter.hand_back_requested():
            raise HandBack
        if self.ended_by == "finished":
            if self._reporter.stop_requested():
                self.ended_by = "stop"
            elif clock.monotonic() > self._deadline:
                self.ended_by = "time limit"
        return self.ended_by != "finished"


def _learned(given: Given, stage: Stage, number: int, is_over: Callable[[], bool]) -> FoldModel:
    learning = Learning(
        classes=len(given.schema.labels),
        objective=given.objective,
        seed=given.seed + number,
        threads=1,
        is_over=is_over,
    )
    train, check = (
        Rows(matrix=given.matrix[places], target=given.target[places]) for places in (stage.train, stage.check)
    )
    return fold_models.learn(given.algorithm, train, check, given.settings, learning)


def _score(given: Given, stage: Stage, predicted: Floats) -> float | None:
    """Give the objective on the rows that were checked; None: they do not define it."""
    target = given.target[stage.check]
    try:
        threshold = scoring.calibrated_threshold(given.objective, given.schema, target, predicted)
        return scoring.score(given.objective, given.schema, target, predicted, threshold=threshold)
    except TrainingFailed:
        return None


def _is_weak(given: Given, number: int, stage: Stage, score: float) -> bool:
    kept = _KEPT_OF_STAGES if stage.replaces else _KEPT_OF_FOLDS
    direction = request.direction_of(given.objective)
    return study.is_weak(given.history, number, score, direction=direction, kept=kept)
