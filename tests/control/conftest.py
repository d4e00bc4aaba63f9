from __future__ import annotations

import pytest

import houses
from mean_problem import MEAN


@pytest.fixture
def house(tmp_path):
    house = houses.build(tmp_path, (MEAN,))
    yield house
    house.db.close()


@pytest.fixture
def admin(house):
    return houses.admin(house)
