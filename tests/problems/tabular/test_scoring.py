from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from gyropilot import clock
from gyropilot.errors import TrainingFailed
from gyropilot.problems.tabular import scoring
from gyropilot.problems.tabular.columns import Column, Schema
from gyropilot.problems.tabular.tables import Frame

LABELS = {"BinaryClassification": ("no", "yes"), "MulticlassClassification": ("a", "b", "c"), "Regression": ()}
REPORTED = {
    "BinaryClassification": {"Accuracy", "AUC", "BalancedAccuracy", "F1", "LogLoss", "Precision", "Recall"},
    "MulticlassClassification": {
        "Accuracy",
        "BalancedAccuracy",
        "F1macro",
        "LogLoss",
        "PrecisionMacro",
        "RecallMacro",
    },
    "Regression": {"MAE", "MSE", "R2", "RMSE"},
}
MEASURED = [("BinaryClassification", "F1"), ("MulticlassClassification", "Accuracy"), ("Regression", "MSE")]


class Fitted:
    """A model of scikit-learn's as the house sees one."""

    def __init__(self, schema, estimator, threshold=0.5):
        self.schema, self.threshold, self.estimator = schema, threshold, estimator
        self.largest = 0

    def predict_numbers(self, features):
        self.largest = max(self.largest, len(features))
        return self.estimator.predict(features)

    def predict_probabilities(self, features):
        self.largest = max(self.largest, len(features))
        return self.estimator.predict_proba(features)


def schema_of(problem_type):
    columns = tuple(Column(name=name, kind="numeric") for name in ("x", "y"))
    return Schema(features=columns, target="t", weight=None, problem_type=problem_type, labels=LABELS[problem_type])


def rows_of(problem_type, rows, seed):
    rng = np.random.default_rng(seed)
    features = pd.DataFrame({"x": rng.normal(size=rows), "y": rng.normal(size=rows)})
    signal = features["x"].to_numpy() + 0.5 * rng.normal(size=rows)
    if problem_type == "Regression":
        return Frame(features=features, target=signal, weights=None)
    bounds = [1.0] if problem_type == "BinaryClassification" else [-0.5, 0.5]
    return Frame(features=features, target=np.digitize(signal, bounds), weights=None)


def fitted(problem_type):
    frame = rows_of(problem_type, 300, 1)
    estimator = LinearRegression() if problem_type == "Regression" else LogisticRegression()
    return Fitted(schema_of(problem_type), estimator.fit(frame.features, frame.target))


def measured(model, objective, **changes):
    given = {
        "objective": objective,
        "validation": rows_of(model.schema.problem_type, 200, 2),
        "training": rows_of(model.schema.problem_type, 300, 1),
    }
    return scoring.measure(model, **{**given, **changes})


def values(scored, split):
    return {one.name: one.value for one in scored.metrics if one.split == split}


@pytest.mark.parametrize(("problem_type", "objective"), MEASURED)
def test_the_whole_reported_set_is_measured_on_both_splits(problem_type, objective):
    scored = measured(fitted(problem_type), objective)
    assert values(scored, "Validation").keys() == REPORTED[problem_type] | {"InferenceLatency"}
    assert values(scored, "Train").keys() == REPORTED[problem_type]
    assert scored.score == values(scored, "Validation")[objective]
    assert scored.direction == ("Minimize" if problem_type == "Regression" else "Maximize")
    assert 0 < values(scored, "Validation")["InferenceLatency"] < 1
    assert scored.undefined == {}


def test_a_search_scores_as_the_report_does():
    model = fitted("BinaryClassification")
    validation = rows_of("BinaryClassification", 200, 2)
    predicted = scoring.predict(model, validation)
    found = scoring.score("AUC", model.schema, validation.target, predicted)
    assert found == measured(model, "AUC").score
    assert found > 0.8


def test_weights_count_where_they_should():
    model = fitted("BinaryClassification")
    validation = rows_of("BinaryClassification", 200, 2)
    weights = np.where(validation.target == 1, 10.0, 1.0)
    weighted = values(measured(model, "F1", validation=dataclasses.replace(validation, weights=weights)), "Validation")
    alike = values(measured(model, "F1"), "Validation")
    assert weighted["Accuracy"] < alike["Accuracy"]
    assert weighted["Precision"] > alike["Precision"]
    assert weighted["BalancedAccuracy"] == alike["BalancedAccuracy"]


def test_a_calibrated_threshold_raises_f1_on_other_rows():
    model = fitted("BinaryClassification")
    known = rows_of("BinaryClassification", 2000, 3)
    threshold = scoring.calibrated_threshold("F1", model.schema, known.target, scoring.predict(model, known))
    assert threshold < 0.5
    calibrated = Fitted(model.schema, model.estimator, threshold)
    others = rows_of("BinaryClassification", 2000, 4)
    before, after = (measured(one, "F1", validation=others, training=None).score for one in (model, calibrated))
    assert after > before


@pytest.mark.parametrize(
    ("problem_type", "objective"),
    [
        ("BinaryClassification", "AUC"),
        ("BinaryClassification", "Recall"),
        ("BinaryClassification", "Precision"),
        ("MulticlassClassification", "Accuracy"),
    ],
)
def test_a_threshold_that_serves_nobody_is_not_sought(problem_type, objective):
    model = fitted(problem_type)
    known = rows_of(problem_type, 200, 3)
    found = scoring.calibrated_threshold(objective, model.schema, known.target, scoring.predict(model, known))
    assert found == 0.5


def test_a_metric_that_the_rows_do_not_define_is_left_out_and_named():
    model = fitted("BinaryClassification")
    validation = rows_of("BinaryClassification", 50, 2)
    one_class = dataclasses.replace(validation, target=np.ones(50, np.int64))
    scored = measured(model, "F1", validation=one_class)
    assert "AUC" not in values(scored, "Validation")
    assert "same class" in scored.undefined["AUC"]
    with pytest.raises(TrainingFailed, match="objective AUC cannot be measured on the validation rows: every row"):
        measured(model, "AUC", validation=one_class)


def test_a_model_that_gives_no_number_is_refused():
    class Broken(Fitted):
        def predict_numbers(self, features):
            predicted = super().predict_numbers(features)
            predicted[:2] = [np.nan, np.inf]
            return predicted

    model = fitted("Regression")
    with pytest.raises(TrainingFailed, match="no number for 2 of 200 rows"):
        measured(Broken(model.schema, model.estimator), "MSE")


def test_many_rows_are_asked_for_some_at_a_time_and_many_training_rows_drawn(monkeypatch):
    monkeypatch.setattr(scoring, "_ROWS_AT_ONCE", 64)
    monkeypatch.setattr(scoring, "MOST_TRAINING_ROWS", 100)
    model = fitted("Regression")
    frame = rows_of("Regression", 200, 2)
    whole = model.estimator.predict(frame.features)
    assert np.array_equal(scoring.predict(model, frame), whole)
    assert model.largest == 64
    first, second = (values(measured(model, "MSE"), "Train") for _ in range(2))
    assert first == second


def test_without_time_the_training_rows_are_left_out(monkeypatch):
    scored = measured(fitted("Regression"), "R2", seconds_left=0)
    assert values(scored, "Train") == {}
    assert scored.score > 0.5
    monkeypatch.setattr(scoring, "_PROBED_ROWS", 1)
    assert not scoring._is_time_for(fitted("Regression"), rows_of("Regression", 100_000, 1), clock.monotonic() + 0.5)
    assert values(measured(fitted("Regression"), "R2", seconds_left=600), "Train")


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_a_metric_that_is_no_finite_number_is_left_out_and_named():
    model = fitted("Regression")
    validation = rows_of("Regression", 50, 2)
    huge = dataclasses.replace(validation, target=validation.target * 1e300)
    scored = measured(model, "MAE", validation=huge, training=None)
    assert "MSE" not in values(scored, "Validation")
    assert "are too large for it" in scored.undefined["MSE"]
    with pytest.raises(TrainingFailed, match="objective MSE cannot be measured on the validation rows: it is inf"):
        measured(model, "MSE", validation=huge, training=None)


def test_what_is_known_of_validation_rows_is_measured_in_place_of_the_whole_model():
    model, rows = fitted("BinaryClassification"), rows_of("BinaryClassification", 200, 2)
    known = np.random.default_rng(0).dirichlet((1, 1), 200)
    scored, plain = measured(model, "AUC", known=known), measured(model, "AUC")
    assert scored.score == scoring.score("AUC", model.schema, rows.target, known)
    assert scored.score < 0.7 < plain.score
    assert values(scored, "Train") == values(plain, "Train")


def test_what_is_known_of_other_rows_or_no_number_is_refused():
    model = fitted("BinaryClassification")
    with pytest.raises(ValueError, match="199 known predictions of 200 validation rows"):
        measured(model, "AUC", known=np.full((199, 2), 0.5))
    with pytest.raises(TrainingFailed, match="no number for 200 of 200 rows"):
        measured(model, "AUC", known=np.full((200, 2), np.nan))
