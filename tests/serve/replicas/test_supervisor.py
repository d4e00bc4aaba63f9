"""The supervisor: endpoints in the store become replicas that answer, and stay so."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import pytest

import mean_endpoints
import replica_houses
import steady_callers
from gyropilot.serve.replicas.endpoint_crew import longest_call
from gyropilot.serve.replicas.standby import Standby
from gyropilot.store import endpoints, replicas
from mean_endpoints import (
    answer_of,
    create,
    deleted,
    in_service,
    kill,
    log_of,
    process_of,
    put_model,
    ready,
    settled,
    status,
    update,
    variant,
)
from replica_houses import wait_until


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    return mean_endpoints.house(tmp_path_factory.mktemp("h") / "h", log_mib_per_job=1)


@pytest.fixture(scope="module", autouse=True)
def supervisor(house):
    with mean_endpoints.supervised(house, memory_bytes=300 * 2**20) as running:
        yield running


@pytest.fixture
def two(house):
    return put_model(house, "two.tar.gz", 2.0)


@pytest.fixture
def three(house):
    return put_model(house, "three.tar.gz", 3.0)


def test_an_endpoint_that_is_created_comes_into_service_and_answers(house, two):
    endpoint = create(house, "first", variant(two, instances=2))
    found = in_service(house, endpoint)
    assert sorted((one.variant, one.number) for one in found) == [("main", 1), ("main", 2)]
    assert [answer_of(one).body for one in found] == [b"2.0\n", b"2.0\n"]
    assert len({process_of(one) for one in found}) == 2
    assert endpoints.get(house.db, endpoint).serving == endpoints.get(house.db, endpoint).wanted
    log = log_of(house, endpoint)
    assert log.index("gyropilot: replica main/1: starts") < log.index("gyropilot: replica main/1: is ready, ")


def test_an_update_switches_without_a_failed_call(house, two, three):
    endpoint = create(house, "switched", variant(two))
    old = in_service(house, endpoint)
    with steady_callers.calling(house, "switched") as caller:
        wait_until(lambda: caller.means[2.0] > 5, "calls to be answered")
        update(house, endpoint, variant(three, name="other", instances=2))
        wait_until(lambda: caller.means[3.0] > 20, lambda: f"the new model to answer: {caller.errors}")
        wait_until(lambda: len(replicas.of_endpoint(house.db, endpoint)) == 2, "the old replica to be gone")
    assert (caller.errors, caller.wrong) == ({}, [])
    assert caller.answered == caller.sent
    assert endpoints.get(house.db, endpoint).serving["variants"][0]["name"] == "other"
    assert {one.id for one in in_service(house, endpoint)}.isdisjoint({one.id for one in old})
    log = log_of(house, endpoint)
    assert "replica main/1: takes no more calls and is unloaded" in log
    assert "replica main/1: is gone" in log


def test_an_update_that_keeps_the_name_of_a_variant_writes_one_log(house, two, three, tmp_path):
    endpoint = create(house, "one-log", variant(two))
    (old,) = in_service(house, endpoint)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(answer_of, old, f"wait {tmp_path / 'go'}\nprint 300000".encode())
        update(house, endpoint, variant(three))
        new, *more = in_service(house, endpoint)
        assert more == []  # from the first moment
        answer_of(new, b"print 300000")
        wait_until(lambda: len(log_of(house, endpoint)) > 300_000, "what the new one prints")
        (tmp_path / "go").touch()
        assert running.result().status == 200
        wait_until(lambda: len(log_of(house, endpoint)) > 600_000, "what the old one prints")
    folder = house.settings.logs / "endpoints" / endpoint / "main.1"
    parts = sorted((int(one.stem), one.stat().st_size) for one in folder.glob("*.log"))
    assert [start for start, _ in parts][1:] == [start + size for start, size in parts][:-1]
    assert len(parts) == 3


def test_an_update_of_weights_and_counts_keeps_the_replicas_that_there_are(house, two, three):
    endpoint = create(house, "weights", variant(two), variant(three, name="b"))
    before = {one.id: process_of(one) for one in in_service(house, endpoint)}
    update(house, endpoint, variant(two, weight=5.0, instances=2), variant(three, name="b", weight=0.0))
    found = in_service(house, endpoint)
    assert len(found) == 3
    assert before.items() < {one.id: process_of(one) for one in found}.items()
    assert {one.generation for one in found} == {2}
    update(house, endpoint, variant(two, weight=5.0), variant(three, name="b", weight=0.0))
    assert len(in_service(house, endpoint)) == 2  # from the first moment
    wait_until(lambda: len(replicas.of_endpoint(house.db, endpoint)) == 2, "the second replica to be gone")
    assert {one.id: process_of(one) for one in ready(house, endpoint)} == before


def test_a_replica_that_is_killed_is_started_again(house, two):
    endpoint = create(house, "killed", variant(two))
    (replica,) = in_service(house, endpoint)
    kill(replica)
    wait_until(lambda: [one.restarts for one in ready(house, endpoint)] == [1], "the replica to be back")
    (back,) = ready(house, endpoint)
    assert answer_of(back).status == 200
    assert "SIGKILL" in back.reason
    assert status(house, endpoint) == "InService"
    wait_until(lambda: log_of(house, endpoint).count("is ready") == 2, "the log of the second start")
    assert "replica main/1: ended: the run ended by signal SIGKILL" in log_of(house, endpoint)
    assert "replica main/1: starts again" in log_of(house, endpoint)


def test_a_model_that_kills_its_process_time_and_again_leaves_the_endpoint_in_service(house, two):
    endpoint = create(house, "crashing", variant(two))
    in_service(house, endpoint)
    for deaths in range(1, 5):
        (replica,) = wait_until(lambda: ready(house, endpoint), "the replica to be back")
        with pytest.raises((OSError, mean_endpoints.HTTPException)):
            answer_of(replica, b"die")
        wait_until(lambda count=deaths: [one.restarts for one in ready(house, endpoint)] == [count], "the restart")
    assert status(house, endpoint) == "InService"


def test_a_deleted_endpoint_lets_its_calls_end_and_leaves_nothing(house):
    model = put_model(house, "own.tar.gz", 7.0)
    endpoint = create(house, "deleted", variant(model))
    (replica,) = in_service(house, endpoint)
    files = house.settings.model_files / model["containers"][0]["sha256"]
    assert (files / "model.json").exists()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(answer_of, replica, b"sleep 1")
        wait_until(lambda: answer_of(replica).status == 200, "the call to be inside")
        deleted(house, endpoint)
        assert running.result().body == b"7.0\n"
    assert replicas.of_endpoint(house.db, endpoint) == []
    wait_until(lambda: not files.exists(), "the files of the model to be removed")
    wait_until(lambda: not replica_houses.Path(replica.socket).exists(), "the socket to be removed")
    assert not (house.settings.logs / "endpoints" / endpoint).exists()


def test_a_replica_that_leaves_is_waited_for_as_long_as_its_calls_may_take():
    asked = {"variants": []}
    known = {"serving": asked, "wanted": asked}
    given = {one.name: None for one in fields(endpoints.EndpointRecord)} | known
    plain = endpoints.EndpointRecord(**given)
    asynchronous = endpoints.EndpointRecord(**given | {"serving": asked | {"async": {}}})
    assert 8 * 60 < longest_call(plain, 60.0) < 3600 < longest_call(asynchronous, 60.0)
    assert longest_call(plain, 86_400.0) > 86_400


def test_an_endpoint_is_deleted_in_the_midst_of_an_update(house, two):
    endpoint = create(house, "hasty", variant(two))
    in_service(house, endpoint)
    update(house, endpoint, variant(put_model(house, "slow.tar.gz", fault="slow to load")))
    wait_until(lambda: len(sockets_of(house, endpoint)) == 2, "the process of the update to start")
    there = {(one.generation, one.status) for one in replicas.of_endpoint(house.db, endpoint)}
    assert there == {(1, "Ready"), (2, "Starting")}
    deleted(house, endpoint)


def sockets_of(house, endpoint):
    return {one.socket for one in replicas.of_endpoint(house.db, endpoint) if one.socket}


FAULTS = {
    "bad environment": "Environment.fault: is not to be had (found 'bad environment'); leave it out",
    "not whole": "the folder is not whole",
    "break at load": "An unexpected KeyError ended the loading of the model; its log has the whole",
    "die at load": "the run ended by signal SIGKILL",
    "grow at load": "out of memory: it needed more than the 300 MiB that a replica is granted; serve a smaller model",
    "slow to load": "it was not ready 3 s after its start; give it longer by ContainerStartupHealthCheckTimeoutInSec",
    "gone": "s3://data/gone.tar.gz is not there any more; put the model back, or train it anew",
    "changed": "s3://data/changed.tar.gz is not the model that its job recorded: its SHA-256 is ",
}
MAY_PASS = {"break at load", "die at load"}
"""What is tried again before the endpoint fails."""


def test_an_endpoint_whose_model_cannot_be_loaded_fails_with_the_reason(house):
    made = {fault: _create_faulty(house, fault) for fault in FAULTS}
    for fault, endpoint in made.items():
        found = settled(house, endpoint)
        assert (found.status, found.serving) == ("Failed", None)
        assert found.failure_reason.startswith(f"Variant main, replica 1: {FAULTS[fault]}"), fault
        assert "secret" not in found.failure_reason
        attempts = mean_endpoints.SHORT.attempts if fault in MAY_PASS else 1
        assert log_of(house, endpoint).count("replica main/1: could not be started: ") == attempts, fault
        wait_until(lambda one=endpoint: replicas.of_endpoint(house.db, one) == [], "its replicas to be gone")
        deleted(house, endpoint)


def _create_faulty(house, fault):
    key = f"{fault.replace(' ', '-')}.tar.gz"
    model = put_model(house, key, fault=fault)
    if fault == "gone":
        house.objects.delete("data", key)
    if fault == "changed":
        content = house.objects.read("data", key)
        house.objects.put_bytes("data", key, content[:-1] + bytes([content[-1] ^ 1]))
    return create(house, key, variant(model, startup_seconds=3 if fault == "slow to load" else 60))


def test_an_update_that_fails_leaves_what_was_served(house, two):
    endpoint = create(house, "rolled-back", variant(two))
    (before,) = in_service(house, endpoint)
    update(house, endpoint, variant(put_model(house, "bad.tar.gz", fault="not whole")))
    after = settled(house, endpoint)
    assert (after.status, after.serving["variants"][0]["model"]) == ("InService", two)
    assert after.failure_reason == "Variant main, replica 1: the folder is not whole"
    wait_until(lambda: len(replicas.of_endpoint(house.db, endpoint)) == 1, "the failed replica to be gone")
    assert [(one.id, one.status) for one in replicas.of_endpoint(house.db, endpoint)] == [(before.id, "Ready")]
    assert answer_of(before).body == b"2.0\n"


def test_models_that_share_live_in_one_process_and_come_back_together(house):
    models = [put_model(house, f"shared-{mean}.tar.gz", mean, shares="base") for mean in (11.0, 12.0)]
    made = [create(house, f"shared-{number}", variant(model)) for number, model in enumerate(models)]
    (first,), (second,) = (in_service(house, one) for one in made)
    assert process_of(first) == process_of(second)
    assert [answer_of(one).body for one in (first, second)] == [b"11.0\n", b"12.0\n"]
    kill(first)
    for one in made:
        wait_until(lambda one=one: [it.restarts for it in ready(house, one)] == [1], "both to be back")
    (first,), (second,) = (ready(house, one) for one in made)
    assert process_of(first) == process_of(second)
    deleted(house, made[0])
    assert answer_of(second).body == b"12.0\n"
    assert "replica main/1: starts again" in log_of(house, made[1])


def test_a_load_that_takes_too_long_in_a_shared_process_delays_others_and_leaves_nothing_behind(house):
    first, held, third = (
        put_model(house, f"{name}.tar.gz", mean, shares="queue", fault=fault)
        for name, mean, fault in (("first", 21.0, ""), ("held", 22.0, "held at load"), ("third", 23.0, ""))
    )
    go = house.settings.model_files / ".go"
    (neighbour,) = in_service(house, create(house, "neighbour", variant(first)))
    overdue = create(house, "overdue", variant(held, startup_seconds=1))
    failed = settled(house, overdue)
    assert failed.failure_reason.startswith("Variant main, replica 1: it was not ready 1 s after its start")
    queued, dropped = create(house, "queued", variant(third, startup_seconds=1)), create(house, "d", variant(third))
    for one in (queued, dropped):
        wait_until(lambda one=one: sockets_of(house, one), "it to wait for its turn")
    deleted(house, dropped)  # without waiting for the load before it
    assert status(house, queued) == "Creating"
    go.touch()
    (late,) = in_service(house, queued)
    assert process_of(late) == process_of(neighbour)
    assert [answer_of(one).body for one in (neighbour, late)] == [b"21.0\n", b"23.0\n"]
    assert log_of(house, queued).count("could not be started") == 0
    (again,) = in_service(house, create(house, "again", variant(held)))
    assert (process_of(again), answer_of(again).body) == (process_of(neighbour), b"22.0\n")
    go.unlink()


def test_a_fault_of_one_endpoint_is_told_once_and_leaves_the_others_in_service(house, two, caplog):
    broken = create(house, "broken", {"name": "main"})
    in_service(house, create(house, "beside", variant(two)))
    told = [one for one in caplog.records if broken in one.getMessage()]
    assert [one.exc_info[0] for one in told] == [KeyError]
    assert status(house, broken) == "Creating"
    deleted(house, broken)


def test_accounts_share_no_process(house):
    model = put_model(house, "both.tar.gz", 31.0, shares="both")
    made = [create(house, f"of-{account}", variant(model), account=account) for account in ("1" * 12, "2" * 12)]
    (first,), (second,) = (in_service(house, one) for one in made)
    assert process_of(first) != process_of(second)
    assert [answer_of(one).body for one in (first, second)] == [b"31.0\n", b"31.0\n"]


def test_replicas_that_come_up_and_end_in_turn_end_the_creation(house, two):
    slow = put_model(house, "slow-b.tar.gz", fault="slow to load")
    flapping = variant(two, startup_seconds=1) | {"download_seconds": 1}
    endpoint = create(house, "flapping", flapping, variant(slow, name="b"))
    while status(house, endpoint) == "Creating":
        for one in replicas.of_endpoint(house.db, endpoint):
            if one.variant == "main" and one.socket and mean_endpoints.answers(one):
                with contextlib.suppress(OSError):
                    kill(one)
    found = endpoints.get(house.db, endpoint)
    told = "Variant main, replica 1: it came up and ended again and again, and 2 s after its first start still did: "
    assert (found.status, found.failure_reason[: len(told)]) == ("Failed", told)
    deleted(house, endpoint)


def test_models_of_several_containers_share_nothing(house, two, three):
    chain = {**two, "shares": "", "containers": [*two["containers"], *three["containers"]]}
    (replica,) = in_service(house, create(house, "chain", variant(chain)))
    assert answer_of(replica).body == b"3.0\n"


def test_a_second_process_stands_by_until_the_first_has_ended(tmp_path):
    told = []

    class Noted:
        def __init__(self, name):
            self.name = name

        def start(self):
            told.append(f"{self.name} starts")

        def stop(self):
            told.append(f"{self.name} stops")

    first, second, third = (Standby(tmp_path, lambda name=name: [Noted(name)]) for name in ("one", "two", "three"))
    first.start()
    wait_until(lambda: told == ["one starts"], "the first to start")
    second.start()
    third.start()
    third.stop()
    first.stop()
    wait_until(lambda: told == ["one starts", "one stops", "two starts"], "the second to start")
    second.stop()
    assert told[-1] == "two stops"


def test_a_stand_by_that_stumbles_lets_others_try_and_tries_again(tmp_path, caplog):
    told, trouble = [], [True]

    class Noted:
        def __init__(self, name):
            self.name = name

        def start(self):
            told.append(f"{self.name} starts")
            if self.name == "weak" and trouble[0]:
                raise OSError(24, "Too many open files")

        def stop(self):
            told.append(f"{self.name} stops")

    standby = Standby(tmp_path, lambda: [Noted("strong"), Noted("weak")], wait_seconds=0.01)
    standby.start()
    wait_until(lambda: told.count("weak starts") > 2, "it to try again")
    other = Standby(tmp_path, lambda: [Noted("other")], wait_seconds=0.001)
    other.start()
    wait_until(lambda: "other starts" in told, "another process to have its turn")
    other.stop()
    trouble[0] = False
    tries = told.count("weak starts")
    wait_until(lambda: told.count("weak starts") > tries, "it to start")
    standby.stop()
    assert told[-2:] == ["weak stops", "strong stops"]
    assert told.count("strong starts") == told.count("strong stops")
    assert told.count("weak stops") == 1
    stumbles = [one for one in caplog.records if "Too many open files" in one.getMessage()]
    assert len(stumbles) <= 2  # once, and once more after the other had its turn
