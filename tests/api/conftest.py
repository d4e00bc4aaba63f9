"""A server over a house with one small problem type, shared by the tests of a module."""

import pytest

import houses
import mean_jobs
from api_servers import serving
from mean_problem import MEAN


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    house = houses.build(tmp_path_factory.mktemp("house"), (MEAN,))
    with serving(house) as running:
        yield running
    house.db.close()


@pytest.fixture(scope="module")
def sagemaker(server):
    return server.client()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A server whose worker has run `one`, whose first of two candidates failed, and `broken`, which failed."""
    house = houses.build(tmp_path_factory.mktemp("trained"), (MEAN,))
    worker = mean_jobs.new_worker(house)
    worker.start()
    mean_jobs.create(house, name="one", tags={"candidates": "2", "fault": "first candidate"})
    mean_jobs.create(house, name="broken", tags={"fault": "training"})
    for name in ("one", "broken"):
        mean_jobs.ended(house, name)
    with serving(house) as running:
        yield running
    worker.stop()
    house.db.close()
