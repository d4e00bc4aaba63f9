from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as oracle

from gyropilot.metrics import classification
from gyropilot.metrics.weighted_mean import Undefined

ROWS = 400


def drawn(classes, *, seed=0, decimals=2):
    """Give classes, probabilities with many ties, likeliest classes, and weights, some of them 0."""
    rng = np.random.default_rng(seed)
    actual = rng.integers(0, classes, ROWS)
    raw = rng.random((ROWS, classes)) + 0.6 * np.eye(classes)[actual]
    probabilities = np.round(raw / raw.sum(axis=1, keepdims=True), decimals)
    probabilities[:, -1] = 1 - probabilities[:, :-1].sum(axis=1)
    weights = rng.exponential(size=ROWS) * (rng.random(ROWS) > 0.1)
    return actual, probabilities, probabilities.argmax(axis=1), weights


@pytest.fixture(params=["alike", "weighted"])
def weights_of(request):
    return (lambda weights: None) if request.param == "alike" else (lambda weights: weights)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (classification.accuracy, oracle.accuracy_score),
        (classification.precision, oracle.precision_score),
        (classification.recall, oracle.recall_score),
        (classification.f1, oracle.f1_score),
    ],
)
def test_metrics_of_two_classes_are_those_of_scikit_learn(ours, theirs, weights_of):
    actual, _, predicted, weights = drawn(2)
    expected = theirs(actual, predicted, sample_weight=weights_of(weights))
    assert ours(actual, predicted, weights_of(weights)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("classes", [3, 11])
@pytest.mark.parametrize(
    ("ours", "theirs", "average"),
    [
        (classification.accuracy, oracle.accuracy_score, {}),
        (classification.precision_macro, oracle.precision_score, {"average": "macro", "zero_division": 0}),
        (classification.recall_macro, oracle.recall_score, {"average": "macro", "zero_division": 0}),
        (classification.f1_macro, oracle.f1_score, {"average": "macro", "zero_division": 0}),
    ],
)
def test_metrics_of_many_classes_are_those_of_scikit_learn(ours, theirs, average, classes, weights_of):
    actual, _, predicted, weights = drawn(classes)
    # A class that occurs but is never predicted, and one of which there is nothing at all.
    predicted = np.where(predicted == classes - 2, 0, predicted)
    actual, predicted = actual + (actual == 1) * classes, predicted + (predicted == 1) * classes
    expected = theirs(actual, predicted, sample_weight=weights_of(weights), **average)
    assert ours(actual, predicted, weights_of(weights)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("classes", [2, 5])
def test_the_balanced_accuracy_is_that_of_scikit_learn(classes):
    actual, _, predicted, _ = drawn(classes)
    # Rows without a class that is predicted do not lower it.
    actual = np.where(actual == 0, 1, actual)
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        expected = oracle.balanced_accuracy_score(actual, predicted)
    assert classification.balanced_accuracy(actual, predicted) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("classes", [2, 5])
def test_the_log_loss_is_that_of_scikit_learn(classes, weights_of):
    actual, probabilities, _, weights = drawn(classes)
    probabilities[:3] = np.eye(classes)[actual[:3]]
    probabilities[3] = np.eye(classes)[(actual[3] + 1) % classes]
    expected = oracle.log_loss(actual, probabilities, sample_weight=weights_of(weights), labels=range(classes))
    assert classification.log_loss(actual, probabilities, weights_of(weights)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("decimals", [1, 2, 8])
def test_the_auc_is_that_of_scikit_learn(decimals, weights_of):
    actual, probabilities, _, weights = drawn(2, decimals=decimals)
    expected = oracle.roc_auc_score(actual, probabilities[:, 1], sample_weight=weights_of(weights))
    found = classification.auc(actual, probabilities[:, 1], weights_of(weights))
    assert found == pytest.approx(expected, rel=1e-12)


def test_the_cuts_are_those_of_the_roc_curve():
    actual, probabilities, _, weights = drawn(2)
    curve = classification.cuts(actual, probabilities[:, 1], weights)
    false, true, thresholds = oracle.roc_curve(
        actual, probabilities[:, 1], sample_weight=weights, drop_intermediate=False
    )
    # Scores of which only rows of weight 0 are left no trace in the other's curve.
    kept = np.isin(curve.thresholds, thresholds)
    assert np.allclose(curve.true_positives[kept] / curve.positives, true)
    assert np.allclose(curve.false_positives[kept] / curve.negatives, false)


@pytest.mark.parametrize("metric", classification.CALIBRATED)
@pytest.mark.parametrize("seed", range(3))
def test_no_threshold_is_better_than_the_best(metric, seed):
    actual, probabilities, _, weights = drawn(2, seed=seed)
    actual = actual * (np.random.default_rng(seed).random(ROWS) < 0.4)
    positive = probabilities[:, 1]
    score = {
        "Accuracy": lambda called: classification.accuracy(actual, called, weights),
        "BalancedAccuracy": lambda called: classification.balanced_accuracy(actual, called),
        "F1": lambda called: classification.f1(actual, called, weights),
    }[metric]
    threshold = classification.best_threshold(metric, actual, positive, weights)
    tried = [score((positive >= one).astype(np.int64)) for one in (*np.unique(positive), 0.5, 1.1)]
    assert score((positive >= threshold).astype(np.int64)) == pytest.approx(max(tried), rel=1e-12)
    assert threshold not in positive


def test_a_threshold_that_gains_nothing_stays_at_half():
    actual, positive = np.array([0, 0, 1, 1]), np.array([0.1, 0.45, 0.55, 0.9])
    assert classification.best_threshold("F1", actual, positive) == 0.5
    assert classification.best_threshold("F1", np.zeros(4, np.int64), positive) == 0.5
    assert classification.best_threshold("F1", actual, positive / 10) == pytest.approx(0.05)


def test_where_no_row_should_be_called_positive_none_is():
    positive = np.array([1.0, 1.0, 1.0, 0.2])
    threshold = classification.best_threshold("Accuracy", np.array([0, 0, 0, 1]), positive)
    assert not (positive >= threshold).any()


def test_what_rows_do_not_define_is_said():
    one_class = np.ones(3, np.int64)
    with pytest.raises(Undefined, match="same class"):
        classification.auc(one_class, np.array([0.1, 0.2, 0.3]))
    with pytest.raises(Undefined, match="weights of all rows are 0"):
        classification.accuracy(one_class, one_class, np.zeros(3))
    with pytest.raises(Undefined, match="no rows"):
        classification.f1_macro(np.empty(0, np.int64), np.empty(0, np.int64))
