import numpy as np
import pytest

from gyropilot.errors import InvalidData
from gyropilot.problems.tabular import sampling, splitting


def test_each_class_is_split_alike_and_the_only_row_of_one_is_trained_on():
    classes = np.repeat([0, 1, 2, 3], [100, 10, 2, 1])
    training, validation = splitting.stratified(classes, 0.2, seed=1)
    assert sorted([*training, *validation]) == list(range(113))
    assert np.bincount(classes[validation]).tolist() == [20, 2, 1]
    assert (np.diff(training) > 0).all()


def test_the_same_seed_holds_out_the_same_rows_and_another_seed_others():
    classes = np.zeros(50, dtype=np.int64)
    first, again, other = (splitting.stratified(classes, 0.2, seed=seed)[1].tolist() for seed in (1, 1, 2))
    assert first == again != other
    assert splitting.random(50, 0.2, seed=1)[1].tolist() == splitting.random(50, 0.2, seed=1)[1].tolist()


@pytest.mark.parametrize("fraction", [0.001, 0.5, 0.999])
def test_neither_side_is_empty(fraction):
    for training, validation in (
        splitting.random(2, fraction, seed=1),
        splitting.stratified(np.array([0, 0]), fraction, seed=1),
    ):
        assert (len(training), len(validation)) == (1, 1)


def test_too_few_rows_are_refused():
    with pytest.raises(InvalidData, match=r"too few to hold out 0.2.*1 usable rows"):
        splitting.random(1, 0.2, seed=1)
    with pytest.raises(InvalidData, match="too few to hold out"):
        splitting.stratified(np.array([0, 1]), 0.2, seed=1)


def test_a_sample_keeps_shares_and_rare_classes_whole():
    classes = np.array([0] * 9000 + [1] * 960 + [2] * 40)
    rows = np.arange(10_000)
    taken = sampling.sample(rows, classes, 2000, seed=1)
    assert np.bincount(classes[taken]).tolist() == [1800, 192, 40]
    assert (np.diff(taken) > 0).all()
    assert sampling.sample(rows, None, 2000, seed=1).shape == (2000,)
    assert sampling.sample(rows, classes, 10_000, seed=1) is rows


def test_as_many_rows_are_taken_as_the_memory_holds():
    sizes = {"rows": 10**6, "text_bytes": 10**8, "columns": 10}
    assert sampling.most_rows(**sizes, memory_bytes=0) == 10**6
    assert sampling.most_rows(**sizes, memory_bytes=2**30) == 2**30 // 16 // 500
    assert sampling.most_rows(rows=10**9, text_bytes=10**11, columns=10, memory_bytes=0) == 10**7
