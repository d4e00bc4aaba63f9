"""Which replica a call comes to, and what becomes of one that it does not reach; over real processes on sockets."""

import asyncio
import json
import random
import signal
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace

import pytest

import houses
import replica_servers
from gyropilot.errors import ModelFailed, ModelNotReady, NotFound, Unavailable
from gyropilot.names import ACCOUNT_ID
from gyropilot.serve import router as router_room
from gyropilot.serve.replicas import client as replica_client
from gyropilot.serve.replicas.client import ReplicaCall
from gyropilot.serve.router import Router, StreamBroken
from gyropilot.store import replicas
from runtime_servers import put_endpoint, put_replica, variant

TELL = json.dumps({"headers": True}).encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where two replicas listen, a and b."""
    folder = tmp_path_factory.mktemp("r")
    with replica_servers.running(folder / "a"), replica_servers.running(folder / "b"):
        yield folder


@pytest.fixture
def house(tmp_path):
    house = houses.build(tmp_path / "house", (), invocation_seconds=10)
    yield house
    house.db.close()


@contextmanager
def routing(house):
    """Give a function that runs a coroutine of a fresh router, on one event loop."""
    with asyncio.Runner() as runner:
        router = Router(house, random.Random(1))
        try:
            yield router, runner.run
        finally:
            runner.run(router.close())


def target(house, router, name="e"):
    return router.find(ACCOUNT_ID, houses.REGION, name)


def told(answer):
    return json.loads(answer.body)


def test_calls_are_spread_by_the_weights_of_the_variants(house, folder):
    endpoint = put_endpoint(house, "e", [variant("few", 1.0), variant("many", 3.0), variant("none", 0.0)])
    for number, name in enumerate(("few", "many", "none")):
        put_replica(house, endpoint, folder / "a", variant=name, number=number)
    put_replica(house, endpoint, folder / "b", variant="many", status="Starting")
    put_replica(house, endpoint, folder / "b", variant="former")

    async def ask(router, **more):
        return await router.invoke(target(house, router), ReplicaCall(body=TELL), **more)

    with routing(house) as (router, run):
        answers = [run(ask(router)) for _ in range(200)]
        assert Counter(one.variant for one in answers)["many"] == pytest.approx(150, abs=25)
        assert {(one.variant, told(one)["replica"]) for one in answers} == {("few", "a"), ("many", "a")}
        assert run(ask(router, variant="none")).variant == "none"


def test_variants_without_any_weight_share_the_calls(house, folder):
    endpoint = put_endpoint(house, "e", [variant("one", 0.0), variant("two", 0.0)])
    put_replica(house, endpoint, folder / "a", variant="one")
    put_replica(house, endpoint, folder / "a", variant="two")

    async def ask(router):
        return await router.invoke(target(house, router), ReplicaCall(body=TELL))

    with routing(house) as (router, run):
        assert {run(ask(router)).variant for _ in range(30)} == {"one", "two"}


def test_a_variant_whose_replicas_are_gone_leaves_its_calls_to_the_others(house, folder):
    endpoint = put_endpoint(house, "e", [variant("gone", 100.0), variant("here", 1.0)])
    put_replica(house, endpoint, folder / "a", variant="here")

    async def ask(router, **more):
        return await router.invoke(target(house, router), ReplicaCall(body=TELL), **more)

    with routing(house) as (router, run):
        assert run(ask(router)).variant == "here"
        with pytest.raises(ModelNotReady):
            run(ask(router, variant="gone"))


def test_the_replica_with_the_fewest_calls_is_asked(house, folder):
    endpoint = put_endpoint(house, "e", [variant("main")])
    put_replica(house, endpoint, folder / "a", number=1)
    put_replica(house, endpoint, folder / "b", number=2)
    gate = folder / "least.gate"
    held = ReplicaCall(body=json.dumps({"wait": str(gate), "headers": True}).encode())

    async def ask(router):
        waiting = [asyncio.create_task(router.invoke(target(house, router), held)) for _ in range(10)]
        await asyncio.sleep(0)
        gate.touch()
        return await asyncio.gather(*waiting)

    with routing(house) as (router, run):
        assert Counter(told(one)["replica"] for one in run(ask(router))) == {"a": 5, "b": 5}


def test_a_replica_that_is_gone_is_passed_over(house, folder):
    endpoint = put_endpoint(house, "e", [variant("main")])
    put_replica(house, endpoint, folder / "a", number=1)
    lost = put_replica(house, endpoint, folder / "nobody", number=2)

    async def ask(router):
        return await router.invoke(target(house, router), ReplicaCall(body=TELL))

    with routing(house) as (router, run):
        assert {told(run(ask(router)))["replica"] for _ in range(20)} == {"a"}
        for one in replicas.of_endpoint(house.db, endpoint):
            replicas.put(house.db, replace(one, socket=lost.socket))
        with pytest.raises(ModelNotReady, match="its process does not answer"):
            run(ask(router))


def test_a_full_replica_is_passed_over_and_one_that_came_meanwhile_is_found(house, folder):
    endpoint = put_endpoint(house, "e", [variant("main")])
    put_replica(house, endpoint, folder / "a", number=1)
    full = ReplicaCall(body=json.dumps({"status": 503, "error": "full"}).encode())

    async def ask(router, call):
        found = target(house, router)
        put_replica(house, endpoint, folder / "b", number=2)
        return await router.invoke(found, call)

    with routing(house) as (router, run), pytest.raises(ModelNotReady, match="full"):
        run(ask(router, full))
    put_endpoint(house, "empty", [variant("main")])
    with routing(house) as (router, run), pytest.raises(NotFound):
        target(house, router, "other")


def test_a_replica_that_dies_on_a_call_takes_only_that_call_with_it(house, folder):
    endpoint = put_endpoint(house, "e", [variant("main")])
    with replica_servers.running(folder / "c") as process:
        put_replica(house, endpoint, folder / "c")

        async def ask(router, body):
            return await router.invoke(target(house, router), ReplicaCall(body=body))

        with routing(house) as (router, run):
            assert run(ask(router, b"x")).body == b"x"
            with pytest.raises(Unavailable, match="in the midst of the call"):
                run(ask(router, json.dumps({"die": True}).encode()))
            assert process.wait(10) == 9
            (folder / "c").unlink()
            with replica_servers.running(folder / "c"):
                assert run(ask(router, b"y")).body == b"y"


def test_a_kept_connection_whose_process_was_killed_is_not_asked(house, folder):
    endpoint = put_endpoint(house, "e", [variant("main")])
    put_replica(house, endpoint, folder / "a", number=1)
    with replica_servers.running(folder / "d") as process:
        put_replica(house, endpoint, folder / "d", number=2)

        async def ask(router):
            return await router.invoke(target(house, router), ReplicaCall(body=TELL))

        with routing(house) as (router, run):
            assert {told(run(ask(router)))["replica"] for _ in range(30)} == {"a", "d"}
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert {told(run(ask(router)))["replica"] for _ in range(30)} == {"a"}


def test_a_stream_is_cut_with_its_replica(house, folder):
    endpoint = put_endpoint(house, "e", [variant("main")])
    with replica_servers.running(folder / "f") as process:
        put_replica(house, endpoint, folder / "f")
        body = json.dumps({"parts": ["one", "two"], "gate": str(folder / "never")}).encode()

        came = []

        async def ask(router):
            async with router.stream(target(house, router), ReplicaCall(body=body)) as answer:
                async for part in answer.parts:
                    came.append(part)
                    process.kill()

        with routing(house) as (router, run), pytest.raises(StreamBroken, match="broke its answer off") as caught:
            run(ask(router))
        assert (came, caught.value.trouble) == ([b"one"], "StreamBroken")


def test_a_stream_has_an_end(house, folder, monkeypatch):
    monkeypatch.setattr(router_room, "STREAM_SECONDS", 0.2)
    put_replica(house, put_endpoint(house, "e", [variant("main")]), folder / "a")
    call = ReplicaCall(body=json.dumps({"parts": ["one", "two"], "gate": str(folder / "never")}).encode())

    async def ask(router):
        async with router.stream(target(house, router), call) as answer:
            return [part async for part in answer.parts]

    with routing(house) as (router, run), pytest.raises(StreamBroken, match=r"not done after 0\.2") as caught:
        run(ask(router))
    assert caught.value.trouble == "ModelInvocationTimeExceeded"


def test_a_model_error_keeps_what_the_model_said_short(house, folder):
    put_replica(house, put_endpoint(house, "e", [variant("main")]), folder / "a")
    call = ReplicaCall(body=json.dumps({"status": 400, "error": "a" * 5000}).encode())

    async def ask(router):
        return await router.invoke(target(house, router), call)

    with routing(house) as (router, run), pytest.raises(ModelFailed) as caught:
        run(ask(router))
    assert caught.value.answer == "a" * 1000 + "..."
    assert len(str(caught.value)) < 2048


def test_an_answer_longer_than_is_passed_on_is_the_models_error(house, folder, monkeypatch):
    monkeypatch.setattr(replica_client, "MOST_ANSWER_BYTES", 100)
    put_replica(house, put_endpoint(house, "e", [variant("main")]), folder / "a")

    async def ask(router, size):
        return await router.invoke(target(house, router), ReplicaCall(body=b"a" * size))

    async def read(router):
        call = ReplicaCall(body=json.dumps({"parts": ["a" * 99, "bb"]}).encode())
        async with router.stream(target(house, router), call) as answer:
            return [part async for part in answer.parts]

    with routing(house) as (router, run):
        with pytest.raises(ModelFailed, match=r"answer is longer than 100 bytes.*log-stream:main/1"):
            run(ask(router, 101))
        with pytest.raises(StreamBroken, match="longer than 100 bytes"):
            run(read(router))
        assert len(run(ask(router, 100)).body) == 100
