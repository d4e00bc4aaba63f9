"""Trains a candidate's models stage by stage, as long as it is worth it and there is time; fit.py calls it.

Last comes the model by which the candidate is measured, where the rows for that were held out of those it may learn
from: it trains as long as the others turned out to need, so that its rows choose nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np

from gyropilot import clock
from gyropilot.errors import TrainingFailed
from gyropilot.problems.contract import HandBack, Json, Reporter
from gyropilot.problems.tabular import request, scoring
from gyropilot.problems.tabular.columns import Schema
from gyropilot.problems.tabular.hpo import fold_models, study
from gyropilot.problems.tabular.hpo.fold_models import Course, Floats, FoldModel, Learning, Matrix, Rows
from gyropilot.problems.tabular.hpo.folds import Stage
from gyropilot.problems.tabular.hpo.history import FOLD_SCORE, STOPPED_EARLY, Tried, stage_key
from gyropilot.problems.tabular.hpo.hyperband import Hyperband
from gyropilot.problems.tabular.hpo.spaces import Settings

Ending = Literal["finished", "time limit", "stop"]
_KEPT = 0.5
"""Share of the candidates that go on after a fold, where no Hyperband decides."""
_STOP_SECONDS = 4.0
"""What the model by which a candidate is measured may take once a stop was asked for; a child has ten in all."""


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
    band: Hyperband | None
    """Decides who goes on; None: data is small, and those go on that are not behind half of the others."""
    seed: int
    deadline: float
    """On clock.monotonic; infinity: none."""


@dataclass(kw_only=True)
class FoldRun:
    """What the stages gave."""

    models: list[FoldModel] = field(default_factory=list)
    scores: dict[int, float] = field(default_factory=dict)
    """The mean score after each stage that has one, by the stage's number."""
    checked: list[tuple[Stage, Floats]] = field(default_factory=list)
    """What was predicted of the check rows of the models that count, but for the one that is measured."""
    measured: Floats | None = None
    """[row] or [row, class]: what the model said that measures, of its check rows; None: there is none."""
    ended_by: Ending = "finished"
    is_weak: bool = False

    def told(self) -> dict[str, Json]:
        """Give what a search and Describe are told."""
        told: dict[str, Json] = {"models": len(self.models), STOPPED_EARLY: self.is_weak}
        told |= {stage_key(number): score for number, score in self.scores.items()}
        return told | ({FOLD_SCORE: list(self.scores.values())[-1]} if self.scores else {})


def run(given: Given, reporter: Reporter) -> FoldRun:
    """Train the stages.

    Raises:
        HandBack: the service goes down.
    """
    watch, done = _Watch(given.deadline, reporter), FoldRun()
    last = next((one for one in given.stages if one.is_measured), None)
    _search(given, done, watch, reporter, is_followed=last is not None)
    if last is not None:
        reporter.progress("training", done=len(given.stages) - 1, total=len(given.stages), unit="models")
        course = fold_models.middle([one.course for one in done.models])
        model = _learned(given, last, course, watch.is_over_for_last)
        done.models.append(model)
        done.measured = model.predict(given.matrix[last.check])
    done.ended_by = watch.ended_by
    return done


def _search(given: Given, done: FoldRun, watch: _Watch, reporter: Reporter, *, is_followed: bool) -> None:
    """Train the stages that are not measured; where another one follows, leave the time that one of these took."""
    stages = [one for one in given.stages if not one.is_measured]
    each, longest, began = list[float](), 0.0, clock.monotonic()
    for place, stage in enumerate(stages):
        started, deadline = clock.monotonic(), given.deadline
        if is_followed:
            deadline = deadline - longest if done.models else began + (deadline - began) / 2
        if done.models and started + longest > deadline:
            watch.ended_by = "time limit"
            return
        reporter.progress("training", done=place, total=len(given.stages), unit="models")
        model = _learned(given, stage, _check_rows(given, stage), partial(watch.is_over, deadline))
        if watch.is_over(deadline) and done.models:
            return  # what was cut short stands back behind what was not
        longest = max(longest, clock.monotonic() - started)
        score = _keep(given, done, stage, model)
        if score is not None:
            each.append(score)
            done.scores[stage.number] = score if stage.replaces else float(np.mean(each))
        if watch.is_over(deadline):
            return
        if score is not None and stage is not stages[-1] and _is_weak(given, stage, done.scores):
            done.is_weak = True
            return


class _Watch:
    """Tells when training should end, and by what."""

    def __init__(self, deadline: float, reporter: Reporter) -> None:
        self._deadline, self._reporter = deadline, reporter
        self.ended_by: Ending = "finished"

    def is_over(self, deadline: float) -> bool:
        """Say so, of models that may take until `deadline`; once over, it stays over."""
        self._look()
        if self.ended_by == "finished" and clock.monotonic() > deadline:
            self.ended_by = "time limit"
        return self.ended_by != "finished"

    def is_over_for_last(self) -> bool:
        """Say so, of the model by which the candidate is measured: it may go on for seconds after a stop."""
        self._look()
        if clock.monotonic() <= self._deadline:
            return False
        if self.ended_by == "finished":
            self.ended_by = "time limit"
        return True

    def _look(self) -> None:
        if self._reporter.hand_back_requested():
            raise HandBack
        if self.ended_by != "stop" and self._reporter.stop_requested():
            self.ended_by = "stop"
            self._deadline = min(self._deadline, clock.monotonic() + _STOP_SECONDS)


def _learned(given: Given, stage: Stage, until: Rows | Course, is_over: Callable[[], bool]) -> FoldModel:
    learning = Learning(
        classes=len(given.schema.labels),
        objective=given.objective,
        seed=given.seed + stage.number,
        threads=1,
        is_over=is_over,
    )
    train = Rows(matrix=given.matrix[stage.train], target=given.target[stage.train])
    return fold_models.learn(given.algorithm, train, until, given.settings, learning)


def _check_rows(given: Given, stage: Stage) -> Rows:
    return Rows(matrix=given.matrix[stage.check], target=given.target[stage.check])


def _keep(given: Given, done: FoldRun, stage: Stage, model: FoldModel) -> float | None:
    """Put a model beside those before or in their place, and give its score."""
    predicted = model.predict(given.matrix[stage.check])
    if stage.replaces:
        done.models, done.checked = [], []
    done.models.append(model)
    done.checked.append((stage, predicted))
    return _score(given, stage, predicted)


def _score(given: Given, stage: Stage, predicted: Floats) -> float | None:
    """Give the objective on the rows that were checked; None: they do not define it."""
    target = given.target[stage.check]
    try:
        threshold = scoring.calibrated_threshold(given.objective, given.schema, target, predicted)
        return scoring.score(given.objective, given.schema, target, predicted, threshold=threshold)
    except TrainingFailed:
        return None


def _is_weak(given: Given, stage: Stage, scores: Mapping[int, float]) -> bool:
    if given.band is not None:
        return given.band.is_pruned(scores)
    direction = request.direction_of(given.objective)
    return study.is_weak(given.history, stage.number, scores[stage.number], direction=direction, kept=_KEPT)
