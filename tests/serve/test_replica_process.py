"""A replica process: what it answers, and what becomes of it when calls go wrong."""

from __future__ import annotations

import stat
from contextlib import contextmanager

import pytest

import houses
import mean_problem
import replica_houses
from gyropilot.serve import replica_calls
from replica_houses import invoke


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    return houses.build(tmp_path_factory.mktemp("h") / "h", (mean_problem.MEAN,))


@contextmanager
def opened(house, **chosen):
    room = replica_houses.room(house, **chosen)
    process = room.open("Tabular", lambda data: house.printed.append(data))
    try:
        yield process
    finally:
        process.kill("the test is over")
        assert process.wait_until_ended(seconds=30)


@pytest.fixture(scope="module")
def replica(house, tmp_path_factory):
    """One process with the model `m` (mean 2) and the chain `chain` of means 3 and 4."""
    folder = tmp_path_factory.mktemp("models")
    printed = []
    process = replica_houses.room(house).open("Tabular", printed.append)
    process.printed = printed
    assert process.wait_until_up(seconds=60)
    two, three, four = (replica_houses.write_model(folder / str(mean), mean) for mean in (2, 3, 4))
    replica_calls.load(process.socket, "m", [(two, {})], seconds=60)
    replica_calls.load(process.socket, "chain", [(three, {}), (four, {})], seconds=60)
    yield process
    process.kill("the tests are over")
    assert process.wait_until_ended(seconds=30)


def test_it_answers_on_a_socket_of_its_owner_alone(replica):
    assert invoke(replica.socket, "m", b"1\n2\n").body == b"2\n2\n"
    assert stat.S_IMODE(replica.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(replica.socket.parent.stat().st_mode) == 0o700


def test_the_next_container_of_a_chain_gets_the_answer_of_the_one_before(replica):
    assert invoke(replica.socket, "chain", b"1\n").body == b"4\n"
    assert invoke(replica.socket, "chain", b"refuse").status == 400
