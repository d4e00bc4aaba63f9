from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from gyropilot.errors import TrainingFailed
from gyropilot.problems import tasks
from gyropilot.problems.contract import HandBack
from gyropilot.problems.tabular import artifacts, models, scoring, tables
from gyropilot.problems.tabular.columns import read_schema
from gyropilot.problems.tabular.hpo import fit, fold_models, spaces
from gyropilot.problems.tabular.hpo.containers import Algorithm, FeatureTransform, load_labels
from gyropilot.problems.tabular.hpo.pipelines import pipeline_named
from gyropilot.problems.tabular.hpo.reproducing import Quiet
from gyropilot.problems.tabular.models import labels_of
from mixed_tables import KINDS, features_of, frame_of, schema_of, target_of


def test_a_candidate_beats_the_best_constant_on_rows_it_never_saw(trained):
    model = models.load(trained.unpacked)
    features = features_of(400, seed=9)
    target = target_of(features, model.schema.problem_type)
    if model.schema.is_regression:
        assert np.sqrt(((model.predict_numbers(features) - target) ** 2).mean()) < 0.6 * target.std()
        return
    called = labels_of(model.predict_probabilities(features), model.schema.labels, model.threshold)
    assert (called == target).mean() > np.bincount(target).max() / len(target) + 0.15


def test_a_candidate_says_what_it_is_and_how_good(trained):
    result, schema = trained.result, read_schema(trained.job.profile["schema"])
    assert {one.split for one in result.metrics} == {"Train", "Validation"}
    validation = {one.name: one.value for one in result.metrics if one.split == "Validation"}
    assert validation[result.score_name] == result.score
    assert (result.score_name, result.direction) == (
        trained.job.profile["objective"],
        "Minimize" if schema.is_regression else "Maximize",
    )
    assert result.chosen["algorithm"] == "xgboost"
    assert result.chosen["pipeline"] == "dpp0"
    assert result.chosen["max_depth"] == 6
    assert result.chosen["models"] == 5
    assert result.chosen["score_at_4"] == result.chosen["fold_score"]
    assert "score_at_5" not in result.chosen  # the fold that is measured has no part in the search
    assert all(isinstance(one, (str, int, float, bool)) for one in result.chosen.values())
    assert tasks.train_result(json.loads(json.dumps(tasks.to_json(result)))) == result


def test_its_containers_are_two_of_a_regression_and_three_of_classes(trained):
    containers = trained.result.containers
    roles = [one.environment.get("AUTOML_TRANSFORM_MODE") for one in containers]
    assert all((trained.task.output / one.model_path).is_file() for one in containers)
    assert containers[0].model_path.startswith("data-processor-models/tuned-job-dpp0-1-")
    assert containers[1].model_path == f"tuning/tuned-job-dpp0-xgb/{trained.task.candidate['name']}/output/model.tar.gz"
    if trained.result.score_name == "RMSE":
        assert roles == ["feature-transform", None]
        assert not any("SAGEMAKER_INFERENCE_SUPPORTED" in one.environment for one in containers)
        return
    assert roles == ["feature-transform", None, "inverse-label-transform"]
    assert containers[0].model_path == containers[2].model_path
    assert "labels" in containers[2].environment["SAGEMAKER_INFERENCE_SUPPORTED"]
    assert "labels" not in containers[1].environment["SAGEMAKER_INFERENCE_SUPPORTED"]


def test_the_containers_one_after_the_other_answer_as_the_whole_model(trained):
    model = models.load(trained.unpacked)
    transform, algorithm = FeatureTransform.load(trained.unpacked), Algorithm.load(trained.unpacked)
    rows = features_of(30, seed=5)
    whole = model.predict_numbers(rows) if model.schema.is_regression else model.predict_probabilities(rows)
    assert np.array_equal(algorithm.predict(transform.transform(rows)), whole)
    assert load_labels(trained.unpacked) == model.schema.labels
    if not model.schema.is_regression:
        assert np.allclose(whole.sum(axis=1), 1)


def test_what_is_measured_is_what_the_model_said_that_did_not_see_the_validation_rows(trained):
    model, schema = models.load(trained.unpacked), read_schema(trained.job.profile["schema"])
    place = (trained.task.output / trained.result.containers[0].model_path).parent
    known = np.load(place / artifacts.VALIDATION_PREDICTIONS, allow_pickle=False)
    validation = tables.read_prepared(trained.task.prepared / tables.VALIDATION_FILE, schema)
    assert len(known) == len(validation.target)
    score = scoring.score(trained.result.score_name, schema, validation.target, known, threshold=model.threshold)
    assert score == trained.result.score
    assert not np.allclose(scoring.predict(model, validation), known)


def test_the_rows_of_a_validation_channel_are_not_learned_from(job):
    spec = {**job.spec.to_json(), "validation_fraction": None}
    task = job.train_task(job.search().ask(), "channel", spec=spec)
    result = fit.fit(task, Quiet())
    assert not list(task.output.rglob(artifacts.VALIDATION_PREDICTIONS))
    containers = [{"model_path": one.model_path} for one in result.containers]
    model = models.load(artifacts.unpack(task.output, containers, task.checkpoints / "unpacked"))
    validation = tables.read_prepared(task.prepared / tables.VALIDATION_FILE, model.schema)
    predicted = scoring.predict(model, validation)
    assert result.score == scoring.score("F1", model.schema, validation.target, predicted, threshold=model.threshold)


def test_rows_with_everything_missing_or_never_seen_are_answered_and_alone_as_among_others(trained):
    model = models.load(trained.unpacked)
    ask = model.predict_numbers if model.schema.is_regression else model.predict_probabilities
    schema = model.schema
    strange = tables.from_text(
        [[None] * len(KINDS), ["inf", "-1e300", "7", "ultraviolet", "1066-10-14", "x,,nan,3", "ξ 🦉"]], schema
    )
    together = ask(strange)
    assert np.isfinite(together).all()
    assert np.allclose(ask(strange.iloc[1:]), together[1:])


def test_a_folder_that_is_not_whole_is_refused(trained, tmp_path):
    (tmp_path / "model.json").write_bytes((trained.unpacked / "model.json").read_bytes())
    with pytest.raises(TrainingFailed, match=r"feature_transform\.json cannot be read"):
        models.load(tmp_path)
    for name in ("feature_transform.json", "feature_transform.joblib"):
        (tmp_path / name).write_bytes((trained.unpacked / name).read_bytes())
    with pytest.raises(TrainingFailed, match="a model of the folds cannot be read"):
        models.load(tmp_path)
    note = json.loads((tmp_path / "feature_transform.json").read_text())
    (tmp_path / "feature_transform.json").write_text(json.dumps({**note, "scikit-learn": "0.1"}))
    with pytest.raises(TrainingFailed, match=r"made by scikit-learn 0\.1"):
        models.load(tmp_path)


class Asking(Quiet):
    """Asks for something once training has begun a second model."""

    def __init__(self, wish):
        self.wish = wish
        self.begun = 0

    def progress(self, phase, *, done, total, unit, values=None):
        self.begun += phase == "training"

    def stop_requested(self):
        return self.wish == "stop" and self.begun > 1

    def hand_back_requested(self):
        return self.wish == "hand back" and self.begun > 1


def test_a_stopped_candidate_keeps_the_models_it_has(job):
    result = fit.fit(job.train_task(job.search().ask(), "stopped"), Asking("stop"))
    assert result.ended_by == "stop"
    assert result.chosen["models"] == 2  # the first fold's, and the one that is measured


def test_a_candidate_hands_back_when_the_service_goes_down(job):
    with pytest.raises(HandBack):
        fit.fit(job.train_task(job.search().ask(), "handed-back"), Asking("hand back"))


def test_a_candidate_without_time_still_gives_a_usable_model(job):
    task = job.train_task(job.search().ask(), "hurried", seconds_left=0.01)
    result = fit.fit(task, Quiet())
    assert result.ended_by == "time limit"
    assert result.chosen["models"] == 2
    assert 0 <= result.score <= 1


def test_a_candidate_that_falls_behind_the_others_stops_early(job):
    search = job.search()
    better = {f"score_at_{stage}": 2.0 for stage in range(1, 6)}
    history = [[{"algorithm": "xgboost", "pipeline": "dpp0", **better}, 2.0]] * 4
    result = fit.fit(job.train_task({**search.ask(), "history": history}, "weak"), Quiet())
    assert result.chosen["stopped_early"] is True
    assert result.chosen["models"] == 2
    assert result.ended_by == "finished"


def test_the_same_proposal_gives_the_same_candidate(job, searched):
    candidate, first = searched
    second = fit.fit(job.train_task(candidate, "again"), Quiet())
    assert first.chosen == second.chosen
    assert first.score == second.score


def plan_of(pipeline, schema, **changes):
    settings = dict(spaces.defaults_of(pipeline_named(pipeline).algorithm, schema, "AUC")[0])
    given = {"history": (), "seed": 1, "size_bytes": 1, "is_held_out": True}
    return fit.Plan(
        **{**given, **changes}, schema=schema, objective="AUC", pipeline=pipeline_named(pipeline), settings=settings
    )


@pytest.mark.parametrize("pipeline", ["dpp3"])
def test_no_target_of_a_validation_row_is_in_the_codes_of_categories(pipeline):
    training, validation = (frame_of("BinaryClassification", rows, seed=rows) for rows in (240, 60))
    turned = dataclasses.replace(validation, target=1 - validation.target)
    plan = plan_of(pipeline, schema_of("BinaryClassification"))
    matrices = [
        fit.fit_rows(plan, training, rows, Quiet()).transform.transform(validation.features)
        for rows in (validation, turned)
    ]
    assert np.array_equal(*matrices, equal_nan=True)


@pytest.mark.parametrize("pipeline", ["dpp0", "dpp1", "dpp2"])
def test_the_model_that_is_measured_trains_on_training_rows_as_long_as_the_others_needed(pipeline):
    training, validation = (frame_of("BinaryClassification", rows, seed=rows) for rows in (240, 60))
    plan = plan_of(pipeline, schema_of("BinaryClassification"))
    fitted = fit.fit_rows(plan, training, validation, Quiet())
    *others, _ = fitted.run.models
    transform, matrix = FeatureTransform.fitted(
        plan.schema, plan.pipeline, training.features, training.target, seed=plan.seed
    )
    learning = fold_models.Learning(classes=2, objective="AUC", seed=plan.seed + 5, threads=1, is_over=lambda: False)
    again = fold_models.learn(
        plan.pipeline.algorithm,
        fold_models.Rows(matrix=matrix, target=training.target),
        fold_models.middle([one.course for one in others]),
        plan.settings,
        learning,
    )
    assert np.array_equal(again.predict(transform.transform(validation.features)), fitted.known)


def test_the_scores_of_validation_rows_do_not_steer_the_search():
    """Candidates are told apart, while they train, by folds of training rows alone."""
    training, validation = (frame_of("BinaryClassification", rows, seed=rows) for rows in (240, 60))
    fitted = fit.fit_rows(plan_of("dpp0", schema_of("BinaryClassification")), training, validation, Quiet())
    places = np.concatenate([stage.check for stage, _ in fitted.run.checked])
    assert sorted(places) == list(range(240))
    assert len(fitted.run.scores) == 4
