import pytest

from gyropilot.data.splits import split, split_by_group
from gyropilot.errors import InvalidData


@pytest.mark.parametrize(("rows", "fraction", "validation"), [(10, 0.2, 2), (100, 0.07, 7), (3, 0.2, 1), (2, 0.5, 1)])
def test_the_share_is_rounded_up_and_both_sides_are_whole(rows, fraction, validation):
    left, right = split(rows, fraction, seed=1)
    assert len(right) == validation
    assert sorted(left + right) == list(range(rows))
    assert left == sorted(left)
    assert right == sorted(right)


def test_the_same_seed_gives_the_same_split_and_another_seed_another():
    assert split(1000, 0.2, seed=7) == split(1000, 0.2, seed=7)
    assert split(1000, 0.2, seed=7) != split(1000, 0.2, seed=8)


def test_a_split_never_changes_between_releases():
    assert split(12, 0.25, seed=42) == ([0, 2, 3, 4, 5, 6, 8, 10, 11], [1, 7, 9])


@pytest.mark.parametrize(("rows", "fraction"), [(0, 0.2), (1, 0.2), (1, 0.99), (5, 0.99)])
def test_too_few_rows_say_so(rows, fraction):
    with pytest.raises(InvalidData, match=f"{rows} usable rows"):
        split(rows, fraction, seed=1)


def test_rows_that_are_alike_stay_together_and_the_share_is_met():
    alike = [[1, 2, 3], [10, 50], [60, 61, 62, 63]]
    for seed in range(50):
        training, validation = split(100, 0.2, seed=seed, alike=alike)
        assert sorted(training + validation) == list(range(100))
        assert len(validation) == 20
        for rows in alike:
            assert set(rows) <= set(training) or set(rows) <= set(validation)


def test_without_copies_nothing_changes():
    assert split(100, 0.2, seed=3, alike=[]) == split(100, 0.2, seed=3)


def test_where_no_set_fits_the_smallest_is_held_out():
    assert split(9, 0.1, seed=1, alike=[[0, 1, 2, 3, 4], [5, 6, 7, 8]]) == ([0, 1, 2, 3, 4], [5, 6, 7, 8])


def test_copies_of_one_row_cannot_be_split():
    with pytest.raises(InvalidData, match=r"nothing to hold out .*10 usable rows, all of them alike"):
        split(10, 0.2, seed=1, alike=[list(range(10))])


def test_every_group_has_its_share_of_validation_rows():
    groups = [row % 3 for row in range(60)] + [3] * 2 + [4]
    training, validation = split_by_group(groups, 0.2, seed=3)
    assert sorted(training + validation) == list(range(63))
    assert validation == sorted(validation)
    counts = [sum(groups[row] == group for row in validation) for group in range(5)]
    assert counts == [4, 4, 4, 1, 0]
    assert split_by_group(groups, 0.2, seed=3) == (training, validation)


def test_rows_that_are_alike_stay_together_within_their_group():
    groups = [0, 1] * 10
    alike = [[0, 2, 4], [1, 19]]
    for seed in range(20):
        training, validation = split_by_group(groups, 0.3, seed=seed, alike=alike)
        assert all(set(rows) <= set(training) or set(rows) <= set(validation) for rows in alike)


def test_groups_of_which_none_can_be_split_are_refused():
    with pytest.raises(InvalidData, match="3 usable rows in 3 groups"):
        split_by_group([0, 1, 2], 0.2, seed=1)
