from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from gyropilot.errors import TrainingFailed
from gyropilot.problems.tabular.hpo import fold_models
from gyropilot.problems.tabular.hpo.fold_models import Learning, Rows

SETTINGS = {
    "xgboost": {"max_depth": 3, "learning_rate": 0.2},
    "linear-learner": {"penalty": 1e-4},
    "mlp": {"layers": 1, "width": 32, "dropout": 0.0, "learning_rate": 0.01, "weight_decay": 0.0, "batch_size": 64},
}
OBJECTIVES = {0: ("MSE", "MAE"), 2: ("AUC", "F1"), 3: ("Accuracy", "F1macro")}


def rows_of(classes, rows=400, seed=0):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(rows, 4)).astype(np.float32)
    signal = 2 * matrix[:, 0] - matrix[:, 1]
    target = np.digitize(signal, np.linspace(-1, 1, classes - 1) if classes > 2 else [0]) if classes else signal * 1e6
    return Rows(matrix=matrix, target=target)


def learning_of(classes, objective, **changes):
    given = {"classes": classes, "objective": objective, "seed": 1, "threads": 1, "is_over": lambda: False}
    return Learning(**{**given, **changes})


def learned(algorithm, classes, objective="", settings=(), **changes):
    learning = learning_of(classes, objective or OBJECTIVES[classes][0], **changes)
    chosen = {**SETTINGS[algorithm], **dict(settings)}
    return fold_models.learn(algorithm, rows_of(classes), rows_of(classes, 100, 1), chosen, learning)


@pytest.mark.parametrize("algorithm", SETTINGS)
@pytest.mark.parametrize("classes", OBJECTIVES)
def test_each_algorithm_learns_saves_and_loads(algorithm, classes, tmp_path):
    unseen = rows_of(classes, 300, 2)
    for objective in OBJECTIVES[classes]:
        model = learned(algorithm, classes, objective)
        predicted = model.predict(unseen.matrix)
        if classes:
            assert predicted.shape == (300, classes)
            assert np.allclose(predicted.sum(axis=1), 1)
            assert (predicted.argmax(axis=1) == unseen.target).mean() > 0.8
        else:
            assert predicted.shape == (300,)
            assert np.abs(predicted - unseen.target).mean() < 0.35 * np.abs(unseen.target).mean()
    model.save(tmp_path)
    assert np.array_equal(fold_models.load(algorithm, tmp_path).predict(unseen.matrix), predicted)


@pytest.mark.parametrize("algorithm", ["linear-learner", "mlp"])
def test_a_sparse_matrix_is_as_good_as_a_dense_one(algorithm):
    dense, check = rows_of(2), rows_of(2, 100, 1)
    sparse = Rows(matrix=scipy.sparse.csr_matrix(dense.matrix), target=dense.target)
    models = [
        fold_models.learn(algorithm, one, check, SETTINGS[algorithm], learning_of(2, "AUC")) for one in (dense, sparse)
    ]
    answers = [models[0].predict(dense.matrix), models[1].predict(sparse.matrix)]
    assert np.allclose(*answers, atol=1e-4)


@pytest.mark.parametrize("algorithm", SETTINGS)
def test_learning_ends_when_it_is_over_and_gives_a_model(algorithm):
    model = learned(algorithm, 2, is_over=lambda: True)
    assert np.isfinite(model.predict(rows_of(2).matrix)).all()


@pytest.mark.parametrize("algorithm", SETTINGS)
def test_a_model_trains_along_the_course_of_another_without_rows_that_tell(algorithm):
    first = learned(algorithm, 2)
    second = fold_models.learn(algorithm, rows_of(2), first.course, SETTINGS[algorithm], learning_of(2, "AUC"))
    unseen = rows_of(2, 300, 2)
    assert second.course == first.course
    assert np.allclose(second.predict(unseen.matrix), first.predict(unseen.matrix), atol=1e-6)


def test_of_several_courses_the_middle_one_is_taken():
    courses = [fold_models.Course(steps=steps) for steps in (9, 1, 5, 3)]
    assert fold_models.middle(courses).steps == 5
    assert fold_models.middle(courses[:1]).steps == 9


@pytest.mark.parametrize("algorithm", SETTINGS)
def test_a_rare_class_is_found_more_often_where_classes_count_alike(algorithm):
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(600, 2)).astype(np.float32)
    target = (matrix[:, 0] + rng.normal(size=600) > 2.2).astype(np.int64)
    rows = Rows(matrix=matrix, target=target)
    found = {}
    for weight in ("none", "balanced"):
        settings = {**SETTINGS[algorithm], "class_weight": weight}
        model = fold_models.learn(algorithm, rows, rows, settings, learning_of(2, "Recall"))
        found[weight] = (model.predict(matrix)[target == 1, 1] > 0.5).mean()
    assert found["balanced"] >= found["none"]
    assert found["balanced"] > 0.7


@pytest.mark.parametrize("algorithm", SETTINGS)
def test_a_target_over_powers_of_ten_is_learned_by_its_logarithm(algorithm):
    rows = rows_of(0)
    spread = Rows(matrix=rows.matrix, target=np.exp(rows.matrix[:, 0].astype(np.float64) * 3))
    settings = {**SETTINGS[algorithm], "target_scale": "log"}
    model = fold_models.learn(algorithm, spread, spread, settings, learning_of(0, "RMSE"))
    predicted = model.predict(spread.matrix)
    assert np.isfinite(predicted).all()
    assert np.corrcoef(np.log1p(np.maximum(predicted, 0)), np.log1p(spread.target))[0, 1] > 0.95


def test_an_unknown_algorithm_is_named():
    with pytest.raises(TrainingFailed, match="'catboost'"):
        fold_models.learn("catboost", rows_of(2), rows_of(2), {}, learning_of(2, "AUC"))
