from __future__ import annotations

import numpy as np
import pytest

from gyropilot.problems.tabular.hpo import folds


def test_of_few_rows_each_is_checked_once_and_never_by_a_model_that_learned_it():
    target = np.random.default_rng(0).integers(0, 3, 1003)
    stages = folds.stages(target, classes=3, size_bytes=10**9)
    assert len(stages) == 5
    assert sorted(np.concatenate([one.check for one in stages])) == list(range(1003))
    for one in stages:
        assert not set(one.train) & set(one.check)
        assert len(one.train) + len(one.check) == 1003
        assert not one.replaces


def test_validation_rows_that_were_held_out_are_the_last_fold_and_the_other_models_learn_from_them():
    target = np.random.default_rng(0).integers(0, 2, 1000)
    *others, last = folds.stages(target, classes=2, size_bytes=1, validation_rows=200)
    assert np.array_equal(last.check, np.arange(800, 1000))
    assert np.array_equal(last.train, np.arange(800))
    assert [one.is_measured for one in (*others, last)] == [False] * 4 + [True]
    assert sorted(np.concatenate([one.check for one in others])) == list(range(800))
    for one in others:
        assert set(range(800, 1000)) <= set(one.train)
        assert not set(one.train) & set(one.check)


def test_each_fold_has_its_share_of_a_rare_class():
    target = np.zeros(1000, dtype=np.int64)
    target[:10] = 1
    assert [int(target[one.check].sum()) for one in folds.stages(target, classes=2, size_bytes=1)] == [2] * 5


@pytest.mark.parametrize("rows", [2, 3, 7])
def test_of_very_few_rows_there_are_fewer_folds(rows):
    stages = folds.stages(np.arange(rows, dtype=np.float64), classes=0, size_bytes=1)
    assert len(stages) == max(2, rows // 2)
    assert all(len(one.train) and len(one.check) for one in stages)


def test_of_many_rows_there_is_one_model_and_of_large_data_it_grows_in_stages():
    target = np.random.default_rng(0).integers(0, 2, 60_000)
    (only,) = folds.stages(target, classes=2, size_bytes=10**8)
    assert (len(only.train), len(only.check)) == (54_000, 6_000)
    stages = folds.stages(target, classes=2, size_bytes=10**8 + 1)
    assert [len(one.train) for one in stages] == [6_000, 18_000, 54_000]
    assert all(one.replaces and np.array_equal(one.check, only.check) for one in stages)
    for one in stages:
        assert not set(one.train) & set(one.check)
        assert abs(target[one.train].mean() - target.mean()) < 0.01
