from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import ensembled_tables
from gyropilot.errors import TrainingFailed
from gyropilot.problems import tasks
from gyropilot.problems.contract import HandBack
from gyropilot.problems.tabular import artifacts, models, scoring, tables
from gyropilot.problems.tabular.ensembling import training
from gyropilot.problems.tabular.ensembling.fit import fit
from gyropilot.problems.tabular.ensembling.model import EnsemblingModel
from gyropilot.problems.tabular.reports import answers

CHEAP = ("lightgbm", "linear-learner")


class Fitted:
    def __init__(self, folder, table, **wanted):
        self.table, self.heard = table, ensembled_tables.Heard()
        self.task = ensembled_tables.make_task(folder, table, **wanted)
        self.result = fit(self.task, self.heard)
        containers = tasks.to_json(self.result)["containers"]
        self.model = models.load(artifacts.unpack(self.task.output, containers, folder / "unpacked"))
        self.validation = tables.read_prepared(self.task.prepared / tables.VALIDATION_FILE, table.schema)
        self.training = tables.read_prepared(self.task.prepared / tables.TRAINING_FILE, table.schema)
        self.place = self.task.output / artifacts.candidate_folder(self.task.candidate["name"])

    def metric(self, name, split="Validation"):
        return next(one.value for one in self.result.metrics if (one.name, one.split) == (name, split))


@pytest.fixture(scope="module")
def bagged(tmp_path_factory):
    """Two classes, F1, two algorithms on folds of training and validation rows, with a time limit."""
    table = ensembled_tables.Table("BinaryClassification")
    return Fitted(tmp_path_factory.mktemp("bagged"), table, models=CHEAP, is_bagged=True, seconds_left=300.0)


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """A weighted regression by one model, on training rows alone."""
    table = ensembled_tables.Table("Regression", weighted=True)
    return Fitted(tmp_path_factory.mktemp("quick"), table, models=["lightgbm"], is_bagged=False)


def test_an_ensemble_finds_the_rule(bagged):
    assert bagged.metric("AUC") > 0.93
    assert bagged.result.score == bagged.metric("F1") > 0.75
    assert (bagged.result.score_name, bagged.result.direction) == ("F1", "Maximize")


def test_a_regression_finds_the_rule(quick):
    assert quick.metric("R2") > 0.7
    assert quick.result.score == quick.metric("MSE")
    assert quick.result.direction == "Minimize"


def test_what_is_measured_of_one_model_is_what_its_archive_answers(quick):
    said = scoring.predict(quick.model, quick.validation)
    again = scoring.score("MSE", quick.table.schema, quick.validation.target, said, quick.validation.weights)
    assert again == pytest.approx(quick.result.score)


def test_validation_rows_that_folds_were_trained_on_are_judged_by_the_others(bagged):
    known = np.load(bagged.place / artifacts.VALIDATION_PREDICTIONS, allow_pickle=False)
    target, schema = bagged.validation.target, bagged.table.schema
    assert known.shape == (len(target), 2)
    assert scoring.score("LogLoss", schema, target, known) == pytest.approx(bagged.metric("LogLoss"))
    whole = scoring.predict(bagged.model, bagged.validation)
    assert scoring.score("LogLoss", schema, target, whole) < bagged.metric("LogLoss")


def test_reports_take_the_same_predictions_for_those_of_the_model(bagged, quick):
    for fitted, is_kept in ((bagged, True), (quick, False)):
        task = SimpleNamespace(model=fitted.task.output, result=tasks.to_json(fitted.result))
        known = answers.known(task, fitted.model, fitted.validation)
        assert (known is not None) == is_kept
        if known is not None:
            loss = scoring.score("LogLoss", fitted.table.schema, known.truth, known.probabilities)
            assert loss == pytest.approx(fitted.metric("LogLoss"))


def test_a_validation_channel_is_never_trained_on(tmp_path, bagged):
    table = ensembled_tables.Table("MulticlassClassification", 240)
    spec = ensembled_tables.make_spec(table, validation_fraction=None)
    fitted = Fitted(tmp_path, table, models=["lightgbm"], is_bagged=True, spec=spec)
    assert fitted.result.chosen["training_rows"] == 180
    assert not (fitted.place / artifacts.VALIDATION_PREDICTIONS).exists()
    said = scoring.predict(fitted.model, fitted.validation)
    assert said.shape == (60, 3)
    accuracy = scoring.score("Accuracy", table.schema, fitted.validation.target, said)
    assert accuracy == pytest.approx(fitted.result.score)
    assert accuracy > 0.7
    assert bagged.result.chosen["training_rows"] == 400


def test_the_threshold_is_chosen_for_the_objective(bagged):
    assert bagged.model.threshold == bagged.result.chosen["threshold"] != 0.5
    assert isinstance(bagged.model, EnsemblingModel)


def test_unknown_categories_and_missing_values_are_answered(bagged, quick):
    rows = [["0.3", None, "violet", None, None, None], [None, None, None, "2031-01-01", "new words", "7"]]
    for fitted in (bagged, quick):
        said = scoring.predict(
            fitted.model,
            tables.Frame(features=tables.from_text(rows, fitted.table.schema), target=np.zeros(2), weights=None),
        )
        assert np.isfinite(said).all()


def test_probabilities_are_of_the_labels_in_their_order(bagged):
    said = bagged.model.predict_probabilities(bagged.training.features)
    assert said.sum(axis=1) == pytest.approx(np.ones(len(said)))
    assert said[bagged.training.target == 1, 1].mean() > 0.6
    assert bagged.model.schema == bagged.table.schema


def test_one_row_is_answered_as_among_others(bagged):
    features = bagged.validation.features
    together = bagged.model.predict_probabilities(features.iloc[:5])
    alone = np.concatenate([bagged.model.predict_probabilities(features.iloc[at : at + 1]) for at in range(5)])
    assert alone == pytest.approx(together, abs=1e-6)


def test_the_result_tells_what_was_chosen(bagged, quick):
    board = json.loads((bagged.place / artifacts.LEADERBOARD).read_text(encoding="utf-8"))
    assert {one["model"] for one in board["models"]} >= {"LightGBM_BAG_L1", "LinearModel_BAG_L1"}
    assert board["failed"] == {}
    assert sum(board["weights"].values()) == pytest.approx(1.0, abs=1e-3)
    assert bagged.result.chosen["folds"] == 8
    assert 0 < bagged.result.chosen["seconds_left"] < 300
    assert bagged.result.ended_by == "finished"
    assert all(isinstance(one, (str, int, float)) for one in bagged.result.chosen.values())
    assert "seconds_left" not in quick.result.chosen


def test_the_container_says_what_can_be_selected(bagged, quick):
    (container,) = bagged.result.containers
    assert container.model_path == "sagemaker-automl-candidates/model/tables-trial-t1-1/model.tar.gz"
    assert container.environment["SAGEMAKER_INFERENCE_SUPPORTED"] == "predicted_label,probability,probabilities,labels"
    assert not [name for name in quick.result.containers[0].environment if name.startswith("SAGEMAKER_INFERENCE")]


def test_progress_counts_models(bagged):
    training = [one for one in bagged.heard.phases if one[0] == "training"]
    assert training[0] == ("training", 0, 3, "models")
    assert {one[0] for one in bagged.heard.phases} == {"training", "measuring", "saving"}


def test_a_result_travels_as_json(bagged):
    assert tasks.train_result(json.loads(json.dumps(tasks.to_json(bagged.result)))) == bagged.result


def test_a_model_that_fails_is_named_with_its_reason_and_the_others_stand(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "catboost", None)
    table = ensembled_tables.Table("Regression", 120)
    fitted = Fitted(tmp_path, table, models=["catboost", "linear-learner"], is_bagged=False)
    (event,) = [one for one in fitted.heard.events if one[0] == "model_failed"]
    assert "CatBoost is not in the ensemble: ImportError" in event[1]
    assert list(json.loads((fitted.place / artifacts.LEADERBOARD).read_text())["failed"]) == ["CatBoost"]


def test_a_trial_without_a_model_says_why(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "catboost", None)
    table = ensembled_tables.Table("Regression", 120)
    task = ensembled_tables.make_task(tmp_path, table, models=["catboost"], is_bagged=False)
    with pytest.raises(TrainingFailed, match="No model of tables-trial-t1-1 could be trained: CatBoost: ImportError"):
        fit(task, ensembled_tables.Heard())


class StopsAtTheSecondModel(ensembled_tables.Heard):
    def stop_requested(self):
        return any(done >= 1 for phase, done, *_ in self.phases if phase == "training")


def test_a_stop_in_the_middle_of_a_bagged_trial_keeps_the_models_that_are_whole(tmp_path):
    table = ensembled_tables.Table("BinaryClassification", 160)
    task = ensembled_tables.make_task(tmp_path, table, models=CHEAP, is_bagged=True)
    result = fit(task, StopsAtTheSecondModel())
    assert (result.ended_by, result.chosen["models"]) == ("stop", 1)
    assert 0 <= result.score <= 1


def test_a_model_that_a_stop_kept_from_being_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "_failures", lambda _: {"XGBoost_BAG_L1": "TimeLimitExceeded"})
    table = ensembled_tables.Table("BinaryClassification", 160)
    task = ensembled_tables.make_task(tmp_path, table, models=CHEAP, is_bagged=True)
    heard = StopsAtTheSecondModel()
    fit(task, heard)
    (told,) = (event[1] for event in heard.events if event[0] == "model_failed")
    assert told.endswith("XGBoost_BAG_L1 is not in the ensemble: the job was stopped")


class HeardOfTime(ensembled_tables.Heard):
    """Keeps how many seconds training says it has."""

    def __init__(self):
        super().__init__()
        self.seconds_left = []

    def progress(self, phase, *, done, total, unit, values=None):
        self.seconds_left += [] if values is None else [values.get("seconds_left")]


@pytest.mark.parametrize("seconds_left", [None, 600.0])
def test_a_trial_takes_no_more_than_its_own_bound_however_much_time_there_is(tmp_path, seconds_left):
    table = ensembled_tables.Table("Regression", 120)
    changes = {"models": ["linear-learner"], "is_bagged": False, "most_seconds": 30.0, "seconds_left": seconds_left}
    heard = HeardOfTime()
    fit(ensembled_tables.make_task(tmp_path, table, **changes), heard)
    assert heard.seconds_left
    assert all(0 <= one <= 30 for one in heard.seconds_left)


def test_too_little_time_is_said(tmp_path):
    table = ensembled_tables.Table("Regression", 120)
    task = ensembled_tables.make_task(tmp_path, table, models=CHEAP, is_bagged=False, seconds_left=2.0)
    with pytest.raises(TrainingFailed, match="too little to train a model"):
        fit(task, ensembled_tables.Heard())


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "model"), [("fastai", "NeuralNetFastAI"), ("nn-torch", "NeuralNetTorch")])
def test_neural_networks_train_too(tmp_path, algorithm, model):
    table = ensembled_tables.Table("BinaryClassification", 160)
    fitted = Fitted(tmp_path, table, models=[algorithm], is_bagged=False)
    board = json.loads((fitted.place / artifacts.LEADERBOARD).read_text())
    assert board["failed"] == {}
    assert model in {one["model"] for one in board["models"]}
    assert np.isfinite(scoring.predict(fitted.model, fitted.validation)).all()


def test_a_class_of_one_row_hinders_nothing(tmp_path):
    table = ensembled_tables.Table("MulticlassClassification", 80)
    table.target[:] = table.target % 2
    table.target[3] = 2
    fitted = Fitted(tmp_path, table, models=["linear-learner"], is_bagged=True)
    assert fitted.model.predict_probabilities(fitted.validation.features).shape == (20, 3)


def test_a_service_that_goes_down_gets_the_trial_back(tmp_path):
    table = ensembled_tables.Table("Regression", 120)
    task = ensembled_tables.make_task(tmp_path, table, models=CHEAP, is_bagged=False)
    with pytest.raises(HandBack):
        fit(task, ensembled_tables.Heard(hand_back=True))


def test_a_folder_that_is_not_whole_is_refused(tmp_path, quick):
    (tmp_path / "model.json").write_text(json.dumps({"kind": "ensembling", "schema": {}, "threshold": 0.5}))
    with pytest.raises(TrainingFailed, match="cannot be loaded"):
        models.load(tmp_path)


def test_frames_are_left_as_they_were(quick):
    before = quick.validation.features.copy()
    quick.model.predict_numbers(quick.validation.features)
    pd.testing.assert_frame_equal(quick.validation.features, before)
