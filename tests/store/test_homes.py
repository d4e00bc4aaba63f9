from __future__ import annotations

import stat

import pytest

from gyropilot.errors import InvalidRequest
from gyropilot.store import homes
from new_jobs import in_threads


def test_a_database_belongs_to_the_home_that_came_first(db, tmp_path):
    mine, other = tmp_path / "mine", tmp_path / "other"
    assert in_threads(8, lambda _: homes.join(db, mine)) == [None] * 8
    with pytest.raises(InvalidRequest, match="not the home folder that this database belongs to") as caught:
        homes.join(db, other)
    assert str(other) in str(caught.value)
    assert "GYROPILOT_HOME" in str(caught.value)
    homes.join(db, mine)
    assert stat.S_IMODE((mine / homes.FILE).stat().st_mode) == 0o600


def test_of_two_homes_that_come_at_once_one_has_it(db, tmp_path):
    outcomes = in_threads(8, lambda number: homes.join(db, tmp_path / str(number % 2)))
    assert outcomes.count(None) == 4
    assert sum(isinstance(one, InvalidRequest) for one in outcomes) == 4
