"""A server over a house with one small problem type, shared by the tests of a module."""

import pytest

import houses
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
