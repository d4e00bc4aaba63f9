"""The supervisor: endpoints in the store become replicas that answer, and stay so."""

from __future__ import annotations

import pytest

import mean_endpoints
from mean_endpoints import answer_of, create, in_service, put_model, variant


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    return mean_endpoints.house(tmp_path_factory.mktemp("h") / "h")


@pytest.fixture(scope="module", autouse=True)
def supervisor(house):
    with mean_endpoints.supervised(house) as running:
        yield running


def test_an_endpoint_that_is_created_comes_into_service_and_answers(house):
    endpoint = create(house, "first", variant(put_model(house, "two.tar.gz", 2.0), instances=2))
    assert sorted((one.variant, one.number) for one in in_service(house, endpoint)) == [("main", 1), ("main", 2)]
    assert [answer_of(one).body for one in in_service(house, endpoint)] == [b"2.0\n", b"2.0\n"]
    assert "replica main/1: is ready" in mean_endpoints.log_of(house, endpoint)
