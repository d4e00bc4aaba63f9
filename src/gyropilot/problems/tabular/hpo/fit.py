"""One candidate of hyperparameter tuning, from the prepared rows to its archives; train.py calls it in a child process.

read rows -> feature transform -> settings -> folds (fold_run.py) -> threshold -> save -> load as served -> measure
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse

from gyropilot import clock
from gyropilot.errors import TrainingFailed
from gyropilot.problems.archives import write_archive
from gyropilot.problems.contract import Container, Json, Reporter, TrainResult, TrainTask
from gyropilot.problems.tabular import artifacts, request, scoring, tables
from gyropilot.problems.tabular.columns import Schema, read_schema
from gyropilot.problems.tabular.hpo import fold_run, folds, history, model, spaces, step_names, study
from gyropilot.problems.tabular.hpo.containers import Algorithm, FeatureTransform
from gyropilot.problems.tabular.hpo.fold_models import Floats, Matrix
from gyropilot.problems.tabular.hpo.fold_run import FoldRun, Given
from gyropilot.problems.tabular.hpo.folds import Stage
from gyropilot.problems.tabular.hpo.history import Tried
from gyropilot.problems.tabular.hpo.hyperband import Hyperband
from gyropilot.problems.tabular.hpo.model import TunedModel
from gyropilot.problems.tabular.hpo.pipelines import Pipeline, pipeline_named
from gyropilot.problems.tabular.hpo.spaces import Settings
from gyropilot.problems.tabular.scoring import Scored
from gyropilot.problems.tabular.tables import Frame

_OUTPUTS = "predicted_label,probability,probabilities"
_KEPT_SHARE, _KEPT_LEAST_SECONDS, _KEPT_MOST_SECONDS = 0.15, 3.0, 120.0
"""Of a candidate's time, what is kept to measure and save it."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a candidate is to be, beside the rows."""

    schema: Schema
    objective: str
    pipeline: Pipeline
    settings: Settings
    """Of the algorithm."""
    history: Sequence[Tried]
    """Candidates before, against which it is held while it trains."""
    band: Hyperband | None = None
    """Its place among them where data is large; None: it trains as if there were no Hyperband."""
    seed: int
    size_bytes: int
    is_held_out: bool
    """Whether the validation rows were held out of the same channel; they may be learned from where folds allow it."""
    deadline: float = math.inf
    """On clock.monotonic, of training; infinity: none."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A trained candidate."""

    transform: FeatureTransform
    algorithm: Algorithm
    run: FoldRun

    @property
    def known(self) -> Floats | None:
        """Give [row] or [row, class], of the validation rows by the model that did not see them; None: no model did."""
        return self.run.measured


def fit(task: TrainTask, reporter: Reporter) -> TrainResult:
    """Train, measure and pack the candidate of a task.

    Raises:
        TrainingFailed: no usable model came out.
        HandBack: the service goes down; nothing of a candidate outlives its process.
    """
    began = clock.monotonic()
    schema = read_schema(task.profile["schema"])
    training = tables.read_prepared(task.prepared / tables.TRAINING_FILE, schema)
    validation = tables.read_prepared(task.prepared / tables.VALIDATION_FILE, schema)
    plan = _plan(task, schema, len(training.target), began)
    fitted = fit_rows(plan, training, validation, reporter)
    reporter.progress("measuring", done=0, total=1, unit="models")
    containers = _save(task, plan, fitted)
    left = None if task.seconds_left is None else task.seconds_left - (clock.monotonic() - began)
    folder = artifacts.unpack(task.output, [{"model_path": one.model_path} for one in containers], _work(task))
    scored = measure(plan, model.load(folder), fitted.known, training, validation, seconds_left=left)
    shutil.rmtree(folder)
    return TrainResult(
        score=scored.score,
        score_name=scored.score_name,
        direction=scored.direction,
        metrics=scored.metrics,
        containers=containers,
        chosen=chosen(plan, fitted),
        ended_by=fitted.run.ended_by,
    )


def fit_rows(plan: Plan, training: Frame, validation: Frame, reporter: Reporter) -> Fitted:
    """Train a candidate on rows: what `fit` does without files.

    Raises:
        TrainingFailed: no model came out.
        HandBack: the service goes down.
    """
    is_pooled = plan.is_held_out and folds.is_folded(len(training.target))
    # Of training rows alone: codes of categories would carry targets of validation rows to the model that is measured.
    transform, matrix = FeatureTransform.fitted(
        plan.schema, plan.pipeline, training.features, training.target, seed=plan.seed
    )
    rows, held_out = training, 0
    if is_pooled:
        rows, held_out = tables.together(training, validation), len(validation.target)
        matrix = _stacked(matrix, transform.transform(validation.features))
    done = fold_run.run(_given(plan, rows, matrix, held_out), reporter)
    if not done.models:
        raise TrainingFailed(f"{plan.pipeline.title}: no model came out of training")
    # By training rows alone, not by those that rank candidates.
    threshold = _threshold(plan, rows, done.checked)
    algorithm = Algorithm(plan.schema, threshold, plan.pipeline.algorithm, done.models)
    return Fitted(transform=transform, algorithm=algorithm, run=done)


def measure(
    plan: Plan,
    loaded: TunedModel,
    known: Floats | None,
    training: Frame,
    validation: Frame,
    *,
    seconds_left: float | None = None,
) -> Scored:
    """Measure a candidate; where its models saw the validation rows, by what is `known` from the one that did not."""
    return scoring.measure(
        loaded,
        objective=plan.objective,
        validation=validation,
        training=training,
        known=known,
        seconds_left=seconds_left,
    )


def chosen(plan: Plan, fitted: Fitted) -> dict[str, Json]:
    """Give a candidate's settings and fold scores: what DescribeTrainingJob shows, and later candidates learn of."""
    named: dict[str, Json] = {"algorithm": plan.pipeline.algorithm, "pipeline": plan.pipeline.name}
    if plan.band is not None:
        named |= {history.NUMBER: plan.band.number, "bracket": plan.band.bracket}
    return {**named, **plan.settings, "threshold": fitted.algorithm.threshold, **fitted.run.told()}


def _plan(task: TrainTask, schema: Schema, training_rows: int, began: float) -> Plan:
    candidate, profile = task.candidate, task.profile
    objective, size_bytes = str(profile["objective"]), int(profile.get("bytes", 0))
    pipeline = pipeline_named(str(candidate["pipeline"]))
    tried = history.read_history(candidate["history"])
    spec = request.read_spec(task.spec)
    is_held_out = spec.validation_fraction is not None
    band = None
    if folds.is_large(size_bytes):
        band = Hyperband(
            number=int(candidate["number"]),
            seed=spec.seed,
            direction=request.direction_of(objective),
            costs=folds.costs(training_rows, size_bytes=size_bytes, has_validation_rows=is_held_out),
            history=tried,
        )
    left = task.seconds_left
    kept = 0.0 if left is None else min(max(_KEPT_SHARE * left, _KEPT_LEAST_SECONDS), _KEPT_MOST_SECONDS)
    return Plan(
        schema=schema,
        objective=objective,
        pipeline=pipeline,
        settings=settings_for(
            pipeline.algorithm,
            schema,
            objective,
            tried,
            band,
            default=candidate["default"],
            seed=spec.seed + candidate["number"],
        ),
        history=tried,
        band=band,
        seed=spec.seed,
        size_bytes=size_bytes,
        is_held_out=is_held_out,
        deadline=math.inf if left is None else began + left - kept,
    )


def settings_for(
    algorithm: str,
    schema: Schema,
    objective: str,
    tried: Sequence[Tried],
    band: Hyperband | None,
    *,
    default: int | None,
    seed: int,
) -> Settings:
    """Give a candidate's settings: the algorithm's default of that number, or those that promise most.

    Args:
        algorithm: of the candidate.
        schema: the columns.
        objective: StandardMetricName.
        tried: candidates before, of any algorithm.
        band: the candidate's place among them where data is large.
        default: None: what promises most.
        seed: of what is drawn.
    """
    if default is not None:
        return spaces.defaults_of(algorithm, schema, objective)[default]
    space = spaces.space_of(algorithm, schema, objective)
    if band is not None:
        return band.choose(space, algorithm, seed=seed)
    return study.choose(
        space,
        [one for one in history.comparable(tried) if one.algorithm == algorithm],
        direction=request.direction_of(objective),
        seed=seed,
    )


def _stacked(first: Matrix, second: Matrix) -> Matrix:
    if isinstance(first, np.ndarray):
        return np.concatenate([first, second])
    return scipy.sparse.vstack([first, second], format="csr")


def _given(plan: Plan, rows: Frame, matrix: Matrix, held_out: int) -> Given:
    return Given(
        schema=plan.schema,
        objective=plan.objective,
        algorithm=plan.pipeline.algorithm,
        settings=plan.settings,
        matrix=matrix,
        target=rows.target,
        stages=_stages(plan, rows, held_out),
        history=plan.history,
        band=plan.band,
        seed=plan.seed,
        deadline=plan.deadline,
    )


def _stages(plan: Plan, rows: Frame, held_out: int) -> list[Stage]:
    """Give the stages; of those that replace each other, from where the candidate's bracket begins to halve."""
    classes = len(plan.schema.labels)
    stages = folds.stages(rows.target, classes=classes, size_bytes=plan.size_bytes, validation_rows=held_out)
    if not stages[-1].replaces:
        return stages
    if plan.band is None:
        return stages[-1:]
    first, costs = plan.band.first_cost, plan.band.costs
    return [one for one in stages if costs[one.number - 1] >= first]


def _threshold(plan: Plan, rows: Frame, checked: Sequence[tuple[Stage, Floats]]) -> float:
    """Choose the threshold by rows that a model did not see; 0.5 where there are none."""
    if not checked:
        return 0.5
    target = np.concatenate([rows.target[stage.check] for stage, _ in checked])
    predicted = np.concatenate([one for _, one in checked])
    return scoring.calibrated_threshold(plan.objective, plan.schema, target, predicted)


def _save(task: TrainTask, plan: Plan, fitted: Fitted) -> tuple[Container, ...]:
    """Write the archives; give the containers: the first and the last share one."""
    pipeline, name, number = plan.pipeline, str(task.candidate["name"]), int(task.candidate["number"])
    transform = step_names.processor_archive(task.job_name, pipeline.name, number)
    algorithm = step_names.algorithm_archive(task.job_name, pipeline.name, pipeline.algorithm, name)
    work = _work(task)
    fitted.transform.save(artifacts.empty(work))
    _pack(work, task.output / transform)
    if fitted.known is not None:
        np.save((task.output / transform).parent / artifacts.VALIDATION_PREDICTIONS, fitted.known, allow_pickle=False)
    fitted.algorithm.save(artifacts.empty(work), plan.settings)
    _pack(work, task.output / algorithm)
    outputs = {"SAGEMAKER_INFERENCE_OUTPUT": "predicted_label", "SAGEMAKER_INFERENCE_SUPPORTED": _OUTPUTS}
    if plan.schema.is_regression:
        outputs = {}
    first = _container(transform, {"AUTOML_TRANSFORM_MODE": "feature-transform"})
    second = _container(algorithm, {"MAX_CONTENT_LENGTH": "20971520", **outputs})
    third = _container(
        transform,
        {
            "AUTOML_TRANSFORM_MODE": "inverse-label-transform",
            "SAGEMAKER_INFERENCE_INPUT": "predicted_label",
            "SAGEMAKER_INFERENCE_OUTPUT": "predicted_label",
            "SAGEMAKER_INFERENCE_SUPPORTED": "predicted_label,probability,labels,probabilities",
        },
    )
    return (first, second) if plan.schema.is_regression else (first, second, third)


def _container(model_path: str, environment: dict[str, str]) -> Container:
    return Container(image=artifacts.image(), model_path=model_path, environment=environment)


def _pack(folder: Path, archive: Path) -> None:
    archive.parent.mkdir(parents=True, exist_ok=True)
    write_archive(folder, archive, within={})


def _work(task: TrainTask) -> Path:
    return task.checkpoints / "model"
