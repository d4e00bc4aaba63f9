from __future__ import annotations

import numpy as np
import pytest

import reported_tables
from gyropilot.errors import TrainingFailed
from gyropilot.problems.tabular.reports import kernel_shap


def explained(model, frame, *, rows=10, seconds=60.0):
    features = frame.features
    return kernel_shap.explain_rows(
        model, features.iloc[:rows], features.iloc[rows:], seconds=seconds, progress=lambda done, total: None
    )


def test_values_of_a_linear_model_are_its_coefficients_times_the_distance_from_the_baseline():
    model, frame = reported_tables.linear(8)
    found = explained(model, frame)
    distance = found.rows.to_numpy() - found.baseline.to_numpy().mean(axis=0)
    assert np.allclose(found.values[:, :, 0], distance * model.estimator.coef_, atol=1e-8)
    assert found.expected == pytest.approx(model.predict_numbers(found.baseline).mean())


@pytest.mark.parametrize("problem_type", ["BinaryClassification", "MulticlassClassification", "Regression"])
def test_values_and_expected_answer_sum_to_the_models_answer(problem_type):
    model, frame = reported_tables.fitted(problem_type), reported_tables.frame_of(problem_type, 60, seed=2)
    found = explained(model, frame)
    assert np.allclose(found.expected + found.values.sum(axis=1), found.answers)
    if problem_type != "Regression":
        assert np.allclose(found.answers, model.predict_probabilities(found.rows)[:, list(found.outputs)])
    assert found.outputs == {"BinaryClassification": (1,), "MulticlassClassification": (0, 1, 2)}.get(
        problem_type, (0,)
    )


def test_missing_values_text_and_dates_take_part_and_what_says_nothing_has_no_part():
    model, frame = reported_tables.fitted("Regression"), reported_tables.frame_of("Regression", 120, seed=2)
    found = explained(model, frame, rows=60)
    strength = dict(zip((one for (one,) in found.players), found.strength[:, 0], strict=True))
    plan = reported_tables.FEATURES[2].name
    assert list(strength) == ["tenure", plan, "joined", "note"]
    assert min(strength["tenure"], strength[plan]) > 5 * max(strength["joined"], strength["note"])
    assert found.rows["tenure"].isna().any()
    assert found.rows[plan].isna().any()


def test_the_same_values_come_of_the_same_rows():
    model, frame = reported_tables.linear(40)
    first, second = (explained(model, frame, rows=2) for _ in range(2))
    assert np.array_equal(first.values, second.values)


def test_of_a_wide_table_the_features_that_hardly_matter_are_taken_together():
    model, frame = reported_tables.linear(150)
    found = explained(model, frame, rows=3)
    alone = [one[0] for one in found.players if len(one) == 1]
    assert len(found.players) == kernel_shap.MOST_PLAYERS
    assert sum(len(one) for one in found.players) == 150
    assert set(alone[:30]) <= {f"x{number}" for number in range(70)}
    assert np.allclose(found.expected + found.values.sum(axis=1), found.answers)


def test_little_time_gives_fewer_rows_and_none_is_refused():
    model, frame = reported_tables.linear(30)
    asked = kernel_shap._Asked(model, frame.features)
    asked.call_seconds, asked.row_seconds = 0.01, 1e-4
    assert kernel_shap._plan(30, 100, asked, 1000.0).rows == 100
    short = kernel_shap._plan(30, 100, asked, 5.0)
    assert 1 <= short.rows < 100
    assert short.rows * short.baseline_rows * short.coalitions * 1e-4 < 5.0
    with pytest.raises(TrainingFailed, match="explaining one row takes about"):
        kernel_shap._plan(30, 100, asked, 0.01)


def test_of_many_classes_the_likeliest_are_explained():
    said = np.full((5, 30), 0.01)
    said[:, 7:27] = 0.04
    assert kernel_shap._outputs(said) == tuple(range(7, 27))
