from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

import reported_tables
from gyropilot.problems.tabular.reports import curves
from gyropilot.problems.tabular.reports.answers import Answers, ask
from gyropilot.problems.tabular.reports.quality import quality

BINARY = {
    "confusion_matrix",
    "receiver_operating_characteristic_curve",
    "precision_recall_curve",
    "auc",
    "au_prc",
    "true_positive_rate",
    "true_negative_rate",
    "false_positive_rate",
    "false_negative_rate",
} | {
    name + tail
    for name in ("recall", "precision", "accuracy", "f0_5", "f1", "f2")
    for tail in ("", "_best_constant_classifier")
}
MULTICLASS = {"confusion_matrix"} | {
    name + tail
    for name in ("accuracy", "weighted_recall", "weighted_precision", "weighted_f0_5", "weighted_f1", "weighted_f2")
    for tail in ("", "_best_constant_classifier")
}


def answered(problem_type, rows=300, *, weighted=False):
    frame = reported_tables.frame_of(problem_type, rows, seed=2)
    found = ask(reported_tables.fitted(problem_type), frame, seconds=None)
    weights = np.random.default_rng(0).uniform(0, 3, rows) if weighted else None
    return Answers(**{**vars(found), "weights": weights})


def values(section):
    return {name: one["value"] for name, one in section.items() if isinstance(one, dict) and "value" in one}


@pytest.mark.parametrize("weighted", [False, True])
def test_regression_is_measured_as_scikit_learn_does(weighted):
    said = answered("Regression", weighted=weighted)
    found = values(quality(reported_tables.schema_of("Regression"), said))
    oracle = {
        "mae": metrics.mean_absolute_error,
        "mse": metrics.mean_squared_error,
        "rmse": metrics.root_mean_squared_error,
        "r2": metrics.r2_score,
    }
    assert found == pytest.approx(
        {name: measure(said.truth, said.predicted, sample_weight=said.weights) for name, measure in oracle.items()}
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_two_classes_are_measured_as_scikit_learn_does(weighted):
    said = answered("BinaryClassification", weighted=weighted)
    section = quality(reported_tables.schema_of("BinaryClassification"), said)
    assert set(section) == BINARY
    found, weights = values(section), {"sample_weight": said.weights}
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(said.truth, said.probabilities[:, 1], **weights))
    for name, beta in (("f0_5", 0.5), ("f1", 1.0), ("f2", 2.0)):
        assert found[name] == pytest.approx(metrics.fbeta_score(said.truth, said.predicted, beta=beta, **weights))
        always = metrics.fbeta_score(said.truth, np.ones(said.rows), beta=beta, **weights)
        assert found[f"{name}_best_constant_classifier"] == pytest.approx(always)
    assert found["recall"] == pytest.approx(metrics.recall_score(said.truth, said.predicted, **weights))
    assert found["precision"] == pytest.approx(metrics.precision_score(said.truth, said.predicted, **weights))
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(said.truth, said.predicted, **weights))
    assert found["true_negative_rate"] + found["false_positive_rate"] == pytest.approx(1)
    counts = [list(row.values()) for row in section["confusion_matrix"].values()]
    assert counts == metrics.confusion_matrix(said.truth, said.predicted).tolist()


@pytest.mark.parametrize("weighted", [False, True])
def test_more_classes_are_measured_as_scikit_learn_does(weighted):
    said = answered("MulticlassClassification", weighted=weighted)
    section = quality(reported_tables.schema_of("MulticlassClassification"), said)
    assert set(section) == MULTICLASS
    found, how = values(section), {"sample_weight": said.weights, "average": "weighted", "zero_division": 0}
    for name, beta in (("f0_5", 0.5), ("f1", 1.0), ("f2", 2.0)):
        oracle = metrics.fbeta_score(said.truth, said.predicted, beta=beta, **how)
        assert found[f"weighted_{name}"] == pytest.approx(oracle)
    assert found["weighted_precision"] == pytest.approx(metrics.precision_score(said.truth, said.predicted, **how))
    assert found["weighted_recall"] == pytest.approx(found["accuracy"])
    assert list(section["confusion_matrix"]) == list(reported_tables.LABELS["MulticlassClassification"])


def test_the_example_of_the_service_gives_the_values_of_the_service():
    said = Answers(
        truth=np.array([0, 0, 0, 1]),
        predicted=np.array([0, 1, 1, 1]),
        probabilities=np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.1, 0.9]]),
        weights=None,
        rows_known=4,
    )
    section = quality(reported_tables.schema_of("BinaryClassification"), said)
    expected = {
        "recall": 1.0,
        "precision": 1 / 3,
        "accuracy": 0.5,
        "auc": 1.0,
        "f0_5": 0.3846153846153846,
        "f1": 0.5,
        "f2": 0.7142857142857143,
        "f0_5_best_constant_classifier": 0.29411764705882354,
        "f1_best_constant_classifier": 0.4,
        "f2_best_constant_classifier": 0.625,
        "precision_best_constant_classifier": 0.25,
        "recall_best_constant_classifier": 1.0,
        "true_negative_rate": 1 / 3,
    }
    found = values(section)
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert {one["standard_deviation"] for one in section.values() if "value" in one} == {"NaN"}


def test_deviations_are_given_from_two_hundred_rows_on_and_are_those_of_draws():
    few, enough = (
        quality(reported_tables.schema_of("Regression"), answered("Regression", rows)) for rows in (199, 200)
    )
    assert few["rmse"]["standard_deviation"] == "NaN"
    assert 0 < enough["rmse"]["standard_deviation"] < enough["rmse"]["value"] / 5


def test_rows_of_one_class_have_no_curve_and_no_area():
    said = answered("BinaryClassification")
    one = said.truth == 0
    alone = Answers(
        truth=said.truth[one],
        predicted=said.predicted[one],
        probabilities=said.probabilities[one],
        weights=None,
        rows_known=said.rows,
    )
    section = quality(reported_tables.schema_of("BinaryClassification"), alone)
    assert section["auc"]["value"] == "NaN"
    assert section["receiver_operating_characteristic_curve"] == {"false_positive_rates": [], "true_positive_rates": []}


def test_gain_begins_steeper_than_guessing_and_ends_at_all():
    ranked = curves.gain(answered("BinaryClassification"))
    assert ranked["gains"][-1] == pytest.approx(1)
    assert ranked["lifts"][-1] == pytest.approx(1)
    assert all(gain >= share - 1e-9 for gain, share in zip(ranked["gains"], ranked["shares"], strict=True))


def test_a_time_that_is_over_still_gives_the_first_rows_asked():
    frame = reported_tables.frame_of("Regression", 12_000, seed=2)
    said = ask(reported_tables.fitted("Regression"), frame, seconds=0.0)
    assert (said.rows, said.rows_known) == (5000, 12_000)
