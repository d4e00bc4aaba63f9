import pytest

from gyropilot.data.splits import split
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
