"""A house with the small problem type, and a worker that runs in this process."""

import pytest

import houses
import mean_jobs
from mean_problem import MEAN


@pytest.fixture
def house(tmp_path):
    house = houses.build(tmp_path, (MEAN,), lease_seconds=2.0)
    yield house
    house.db.close()


@pytest.fixture
def worker(house):
    worker = mean_jobs.new_worker(house)
    worker.start()
    yield worker
    worker.stop()
