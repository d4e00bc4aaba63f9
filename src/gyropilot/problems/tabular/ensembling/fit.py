"""One trial of an ensembling job, from its prepared rows to its archive; train.py calls it in a child process.

    read rows -> AutoGluon fit (training.py) -> threshold -> load as served -> measure -> leaderboard -> model.tar.gz

Where the job itself held out the validation rows, a bagged trial trains on them too: each fold's model leaves out some
rows of both, and what it says of those is what is measured. So every row counts in the model that is served, and none
is judged by a model that saw it. The rows of a validation channel are never trained on.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from gyropilot import clock
from gyropilot.errors import TrainingFailed
from gyropilot.problems.archives import write_archive
from gyropilot.problems.contract import Container, HandBack, Json, Reporter, TrainResult, TrainTask
from gyropilot.problems.tabular import artifacts, scoring, tables
from gyropilot.problems.tabular.columns import Schema, read_schema
from gyropilot.problems.tabular.ensembling import model, training
from gyropilot.problems.tabular.ensembling.plan import LEAST_SECONDS, SECONDS_LEFT
from gyropilot.problems.tabular.ensembling.training import Floats, Plan, Trained
from gyropilot.problems.tabular.request import ALGORITHMS, TabularSpec, direction_of, read_spec
from gyropilot.problems.tabular.scoring import Scored
from gyropilot.problems.tabular.tables import Frame

Ending = Literal["finished", "time limit", "stop"]
_SUPPORTED = "predicted_label,probability,probabilities,labels"
_OUT_OF_TIME = "TimeLimitExceeded"
"""What AutoGluon says of a model that it was kept from training, by its callback too."""
_LEAST_FIT_SECONDS = 2.0
_END_SECONDS = 4.0
"""What packing may need."""
_UNBOUNDED_SECONDS = 1200.0
"""What one fit may take where the request sets no bound."""


def fit(task: TrainTask, reporter: Reporter) -> TrainResult:
    """Train, measure and pack the trial of a task.

    Raises:
        TrainingFailed: no model could be trained; the message says why for each.
        HandBack: the service goes down; nothing of a trial outlives its process.
    """
    return _Trial(task, reporter).result()


class _Trial:
    """The stages of one TrainTask."""

    def __init__(self, task: TrainTask, reporter: Reporter) -> None:
        self._task, self._reporter = task, reporter
        self._began = clock.monotonic()
        self._spec: TabularSpec = read_spec(task.spec)
        self._schema: Schema = read_schema(task.profile["schema"])
        self._objective = str(task.profile["objective"])
        self._name = str(task.candidate["name"])
        self._training = tables.read_prepared(task.prepared / tables.TRAINING_FILE, self._schema)
        self._validation = tables.read_prepared(task.prepared / tables.VALIDATION_FILE, self._schema)
        self._is_pooled = bool(task.candidate["is_bagged"]) and self._spec.validation_fraction is not None

    def result(self) -> TrainResult:
        """Give what came of it."""
        folder = artifacts.empty(self._task.checkpoints / "model")
        trained = self._trained(folder)
        trained = self._heard(trained)
        self._tell_failures(trained)
        rows = self._rows()
        threshold = self._threshold(trained, rows)
        model.describe(folder, self._schema, threshold)
        place = self._task.output / artifacts.candidate_folder(self._name)
        artifacts.empty(place)
        scored = self._scored(folder, trained, place)
        self._reporter.progress("saving", done=0, total=1, unit="parts")
        write_archive(folder, place / artifacts.ARCHIVE, within={})
        board = {"models": trained.leaderboard, "weights": trained.weights, "failed": trained.failures}
        artifacts.write_json(place / artifacts.LEADERBOARD, board)
        shutil.rmtree(folder, ignore_errors=True)
        return self._told(trained, scored, threshold)

    def _trained(self, folder: Path) -> Trained:
        plan = self._plan()
        trained = training.train(folder / model.PREDICTOR, self._rows(), self._schema, plan, self._reporter)
        if self._reporter.hand_back_requested():
            raise HandBack
        if trained.predictor is None:
            raise TrainingFailed(self._no_model(trained.failures))
        return trained

    def _plan(self) -> Plan:
        candidate = self._task.candidate
        seconds = self._fit_seconds(float(candidate["share"]))
        if candidate["most_seconds"] is not None:
            seconds = min(seconds, float(candidate["most_seconds"]))
        return Plan(
            models=candidate["models"],
            algorithms=self._spec.algorithms or ALGORITHMS["ENSEMBLING"],
            is_bagged=bool(candidate["is_bagged"]),
            stack_levels=int(candidate["stack_levels"]),
            seconds=seconds,
            cores=self._task.cores,
            memory_bytes=self._task.memory_bytes,
            objective=self._objective,
            seed=self._spec.seed,
        )

    def _fit_seconds(self, share: float) -> float:
        left = self._seconds_left()
        if left is None:
            return _UNBOUNDED_SECONDS
        # what is left after the fit pays for measuring, packing and what the library needs to come to an end
        seconds = left * share - min(120.0, max(3.0, 0.12 * left))
        if seconds < _LEAST_FIT_SECONDS:
            limits = self._spec.limits
            given = {
                "MaxAutoMLJobRuntimeInSeconds": limits.seconds_per_job,
                "MaxRuntimePerTrainingJobInSeconds": limits.seconds_per_candidate,
            }
            which = " or ".join(name for name, bound in given.items() if bound is not None) or "the time limit"
            raise TrainingFailed(
                f"The time limit left {max(0.0, left):.0f} s for {self._name}, too little to train a model."
                f" Raise {which}."
            )
        return seconds

    def _seconds_left(self) -> float | None:
        if self._task.seconds_left is None:
            return None
        return self._task.seconds_left - (clock.monotonic() - self._began)

    def _rows(self) -> Frame:
        if not self._is_pooled:
            return self._training
        return tables.together(self._training, self._validation)

    def _threshold(self, trained: Trained, rows: Frame) -> float:
        """Choose by training rows that were predicted unseen, not by those that rank candidates."""
        is_training = trained.unseen < len(self._training.target)
        places = trained.unseen[is_training]
        weights = None if rows.weights is None else rows.weights[places]
        return scoring.calibrated_threshold(
            self._objective, self._schema, rows.target[places], trained.predicted[is_training], weights
        )

    def _scored(self, folder: Path, trained: Trained, place: Path) -> Scored:
        self._reporter.progress("measuring", done=0, total=1, unit="parts")
        left = self._seconds_left()
        loaded = model.load(folder)
        known = self._validation_predictions(trained, loaded) if self._is_pooled else None
        if known is not None:
            np.save(place / artifacts.VALIDATION_PREDICTIONS, known, allow_pickle=False)
        return scoring.measure(
            loaded,
            objective=self._objective,
            validation=self._validation,
            training=self._training,
            known=known,
            seconds_left=None if left is None else left - _END_SECONDS,
        )

    def _validation_predictions(self, trained: Trained, loaded: model.EnsemblingModel) -> Floats:
        """Give what the folds that left a validation row out say of it, in the order of these rows.

        Every row that was trained on was left out by a fold. Of those that the library did not train on, as of a class
        too rare for it, the whole model is asked: it did not see them either.
        """
        first = len(self._training.target)
        known = np.full((len(self._validation.target), *trained.predicted.shape[1:]), np.nan)
        is_validation = trained.unseen >= first
        known[trained.unseen[is_validation] - first] = trained.predicted[is_validation]
        untrained = np.setdiff1d(np.arange(len(known)), trained.unseen[is_validation] - first)
        if len(untrained):
            features = self._validation.features.iloc[untrained]
            ask = loaded.predict_numbers if self._schema.is_regression else loaded.predict_probabilities
            known[untrained] = ask(features)
        return known

    def _heard(self, trained: Trained) -> Trained:
        """Give what was trained with a Stop named where the library, which is not told of it, says that time was up."""
        if not self._reporter.stop_requested():
            return trained
        reasons = {
            name: "the job was stopped" if reason.startswith(_OUT_OF_TIME) else reason
            for name, reason in trained.failures.items()
        }
        return replace(trained, failures=reasons)

    def _tell_failures(self, trained: Trained) -> None:
        for name, reason in trained.failures.items():
            self._reporter.event(
                "model_failed", f"{self._name}: {name} is not in the ensemble: {reason}", detail={"model": name}
            )

    def _no_model(self, failures: Mapping[str, str]) -> str:
        if self._reporter.stop_requested():
            return "The job was stopped before this candidate had a model."
        reasons = "; ".join(f"{name}: {reason}" for name, reason in failures.items()) or "the time limit ended it"
        return f"No model of {self._name} could be trained: {reasons}."

    def _told(self, trained: Trained, scored: Scored, threshold: float) -> TrainResult:
        place = artifacts.candidate_folder(self._name)
        left = self._seconds_left()
        chosen: dict[str, Json] = {
            "trial": str(self._task.candidate["title"]),
            "models": len(trained.leaderboard),
            "folds": trained.folds,
            "stack_levels": int(self._task.candidate["stack_levels"]),
            "training_rows": len(self._rows().target),
            "threshold": threshold,
            **{f"weight of {name}": weight for name, weight in trained.weights.items()},
        }
        is_over = left is not None and left < LEAST_SECONDS
        if left is not None:
            chosen[SECONDS_LEFT] = round(left, 1)
        ended_by: Ending = "stop" if self._reporter.stop_requested() else "time limit" if is_over else "finished"
        return TrainResult(
            score=scored.score,
            score_name=scored.score_name,
            direction=direction_of(scored.score_name),
            metrics=scored.metrics,
            containers=(
                Container(
                    image=artifacts.image(),
                    model_path=f"{place}/{artifacts.ARCHIVE}",
                    environment=self._environment(),
                ),
            ),
            artifacts={"leaderboard": f"{place}/{artifacts.LEADERBOARD}"},
            chosen=chosen,
            ended_by=ended_by,
        )

    def _environment(self) -> dict[str, str]:
        """Give the container's environment, with the keys that the service's clients look for."""
        named = {"MODEL_NAME": self._name}
        if self._schema.is_regression:
            return named
        return {**named, "SAGEMAKER_INFERENCE_OUTPUT": "predicted_label", "SAGEMAKER_INFERENCE_SUPPORTED": _SUPPORTED}
