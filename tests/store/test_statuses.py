from __future__ import annotations

from itertools import product

import pytest

from gyropilot.store.statuses import STATUSES, check_move, is_terminal

ALLOWED = {("InProgress", after) for after in STATUSES} | {
    ("Stopping", "Stopping"),
    ("Stopping", "Stopped"),
    ("Stopping", "Failed"),
    ("Stopping", "Completed"),
}


@pytest.mark.parametrize(("before", "after"), list(product(STATUSES, STATUSES)))
def test_only_listed_moves_pass(before, after):
    if (before, after) in ALLOWED:
        check_move(before, after)
    else:
        with pytest.raises(ValueError, match="cannot go"):
            check_move(before, after)


@pytest.mark.parametrize(("before", "after"), [("InProgress", "Paused"), ("Paused", "Failed")])
def test_an_unknown_status_does_not_pass(before, after):
    with pytest.raises(ValueError, match="Paused"):
        check_move(before, after)


def test_ended_is_for_good():
    assert [one for one in STATUSES if is_terminal(one)] == ["Completed", "Failed", "Stopped"]
