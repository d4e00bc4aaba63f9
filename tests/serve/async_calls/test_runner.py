"""Asynchronous invocations: taken for good, worked off under the model's role, whatever dies meanwhile."""

import errno
import json
import re
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError
from sqlalchemy import select

import replica_servers
import runtime_servers
from gyropilot import clock
from gyropilot.serve.async_calls.runner import AsyncInvocations
from gyropilot.store import async_invocations, endpoints, replicas, roles, tables
from gyropilot.store.role_objects import RoleObjects
from replica_houses import wait_until
from runtime_servers import put_endpoint, put_replica, variant

NARROW = "arn:aws:iam::000000000000:role/narrow"
OUTPUT = {"S3OutputPath": "s3://data/answers/", "S3FailurePath": "s3://data/failures"}


def configured(most=None, output=OUTPUT):
    client = {"MaxConcurrentInvocationsPerInstance": most} if most else {}
    return {"async": {"OutputConfig": output, **({"ClientConfig": client} if client else {})}}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A door, an endpoint `plain` with one replica, and where both lie; no runner."""
    folder = tmp_path_factory.mktemp("r")
    with runtime_servers.running(folder, ["a"]) as server:
        house = server.house
        narrow = roles.Role(
            arn=NARROW, read_prefixes=("s3://data/in",), write_prefixes=("s3://data/answers",), passable_by=("*",)
        )
        roles.add(house.db, narrow)
        put_replica(house, put_endpoint(house, "plain", [variant("main")], **configured()), folder / "a")
        yield SimpleNamespace(folder=folder, server=server, house=house, runtime=server.client("sagemaker-runtime"))


@contextmanager
def at_work(house):
    runner = AsyncInvocations(house, wait_seconds=0.05)
    runner.start()
    try:
        yield
    finally:
        runner.stop()


def ask(place, body=None, *, endpoint="plain", **more):
    if body is not None:
        place.house.objects.put_bytes("data", "in/payload", json.dumps(body).encode())
        more["InputLocation"] = "s3://data/in/payload"
    return place.runtime.invoke_endpoint_async(EndpointName=endpoint, **more)


def read(place, uri):
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    found = place.house.objects.head(bucket, key)
    return None if found is None else place.house.objects.read(bucket, key)


def came(place, uri):
    return wait_until(lambda: read(place, uri), f"an object at {uri}")


def waiting(place):
    return async_invocations.waiting_endpoints(place.house.db)


def waiting_count(place, endpoint_id):
    of_endpoint = (
        tables.async_invocations.c.endpoint_id == endpoint_id,
        tables.async_invocations.c.status == "Waiting",
    )
    with place.house.db.read() as connection:
        return len(connection.execute(select(tables.async_invocations).where(*of_endpoint)).all())


def test_an_invocation_is_answered_where_it_was_promised(place):
    told = ask(place, {"answer": "1,2", "type": "text/csv"}, ContentType="application/json", Accept="text/csv")
    assert told["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert told["OutputLocation"] == f"s3://data/answers/{told['InferenceId']}.out"
    assert told["FailureLocation"] == f"s3://data/failures/{told['InferenceId']}-error.out"
    assert waiting(place)
    with at_work(place.house):
        assert came(place, told["OutputLocation"]) == b"1,2"
        wait_until(lambda: not waiting(place), "the row to go")
    key = told["OutputLocation"].removeprefix("s3://data/")
    assert place.house.objects.head("data", key).content_type == "text/csv"
    assert read(place, told["FailureLocation"]) is None


def test_a_payload_may_come_with_the_call_and_names_may_be_chosen(place):
    told = ask(
        place,
        Body=b'{"headers": true}',
        InferenceId="run one/2",
        S3OutputPathExtension="2026/nov",
        Filename="mine.json",
        CustomAttributes="trace=1",
    )
    assert told["InferenceId"] == "run one/2"
    assert re.fullmatch(r"s3://data/answers/2026/nov/[0-9a-z-]+/mine\.json", told["OutputLocation"])
    assert told["FailureLocation"].startswith("s3://data/failures/2026/nov/")
    with at_work(place.house):
        heard = json.loads(came(place, told["OutputLocation"]))
    assert heard["x-amzn-sagemaker-inference-id"] == "run one/2"
    assert heard["x-amzn-sagemaker-custom-attributes"] == "trace=1"


def test_a_failure_lies_where_it_was_promised(place):
    told = ask(place, {"status": 400, "error": "row 3 is no number"}, InferenceId="mine")
    with at_work(place.house):
        failure = json.loads(came(place, told["FailureLocation"]))
        wait_until(lambda: not waiting(place), "the row to go")
    assert failure["invocationStatus"] == "Failed"
    assert failure["inferenceId"] == "mine"
    assert failure["requestParameters"]["inputLocation"] == "s3://data/in/payload"
    assert 'Received client error (400) from primary with message "row 3 is no number"' in failure["failureReason"]
    assert read(place, told["OutputLocation"]) is None


def refused(place, pattern, **asked):
    with pytest.raises(place.runtime.exceptions.ValidationError, match=pattern):
        ask(place, **asked)
    assert not waiting(place)


def test_what_cannot_be_done_is_refused_before_it_is_taken(place):
    put_endpoint(place.house, "sync", [variant("main")])
    put_endpoint(place.house, "failed", status="Failed", reason="no memory", **configured())
    place.house.objects.put_bytes("data", "in/large", bytes(25 * 2**20 + 1))
    refused(place, "has no AsyncInferenceConfig", endpoint="sync", Body=b"x")
    refused(place, "no memory", endpoint="failed", Body=b"x")
    refused(place, "Endpoint nothing of account 000000000000 not found", endpoint="nothing", Body=b"x")
    refused(place, "exactly one of Body and InputLocation")
    refused(place, "exactly one of Body and InputLocation", Body=b"x", InputLocation="s3://data/in/x")
    refused(place, "InputLocation: there is no such object", InputLocation="s3://data/in/nothing")
    refused(place, "InputLocation: there is no bucket 'nowhere'", InputLocation="s3://nowhere/x")
    refused(place, "InputLocation: is not an s3 URI", InputLocation="https://example.com/x")
    refused(place, "more than the 26214400", InputLocation="s3://data/in/large")
    refused(
        place,
        r"InputLocation: .* \| S3OutputPathExtension: .*",
        InputLocation="s3://data/in/nothing",
        S3OutputPathExtension="a/../../b",
    )
    refused(place, "2 validation errors detected", Body=b"x" * 128_001, Filename="a/b")


def test_inputs_are_read_and_answers_written_under_the_role_of_the_model(place):
    bad_place = {"S3OutputPath": "s3://data/elsewhere", "S3FailurePath": "s3://data/answers/failures"}
    variants = [variant("main", role_arn=NARROW)]
    put_replica(place.house, put_endpoint(place.house, "narrow", variants, **configured()), place.folder / "a")
    misled = put_endpoint(place.house, "misled", variants, **configured(output=bad_place))
    put_replica(place.house, misled, place.folder / "a")
    place.house.objects.put_bytes("data", "secret/x", b"x")
    refused(
        place,
        "InputLocation: lies outside what the role may read",
        endpoint="narrow",
        InputLocation="s3://data/secret/x",
    )
    good = ask(place, {"answer": "x"}, endpoint="narrow")
    told = ask(place, {"answer": "x"}, endpoint="misled")
    with at_work(place.house):
        assert came(place, good["OutputLocation"]) == b"x"
        assert "may not write s3://data/elsewhere" in json.loads(came(place, told["FailureLocation"]))["failureReason"]


def test_an_invocation_waits_for_a_replica_and_then_for_room(place):
    endpoint = put_endpoint(place.house, "late", status="Creating", **configured(most=2))
    gate = place.folder / "late.gate"
    told = [ask(place, {"wait": str(gate), "answer": "x"}, endpoint="late") for _ in range(5)]
    with at_work(place.house):
        wanted = endpoints.get(place.house.db, endpoint).wanted | {"variants": [variant("main")]}
        endpoints.set_status(place.house.db, endpoint, generation=1, status="InService", serving=wanted)
        put_replica(place.house, endpoint, place.folder / "a")
        wait_until(lambda: waiting_count(place, endpoint) == 3, "two to run")
        came(place, ask(place, Body=b"taken by a later look")["OutputLocation"])
        assert waiting_count(place, endpoint) == 3
        gate.touch()
        assert [came(place, one["OutputLocation"]) for one in told] == [b"x"] * 5


def test_what_ran_when_the_service_went_is_done_by_the_next(place):
    gate = place.folder / "next.gate"
    told = ask(place, {"wait": str(gate), "answer": "done"})
    with at_work(place.house):
        wait_until(lambda: not waiting(place), "it to run")
    assert waiting(place)  # handed back at a stop in order
    (taken,) = async_invocations.take(place.house.db, waiting(place)[0], 10)
    assert taken.attempts == 1
    assert not waiting(place)  # as after a crash
    gate.touch()
    with at_work(place.house):
        assert came(place, told["OutputLocation"]) == b"done"


def test_one_that_kills_its_replica_is_given_up_after_three(place):
    endpoint = put_endpoint(place.house, "deadly", [variant("main")], **configured())
    record = put_replica(place.house, endpoint, place.folder / "k")
    told = ask(place, {"die": True}, endpoint="deadly")
    with at_work(place.house):
        for _ in range(3):
            with replica_servers.running(place.folder / "k") as process:
                replicas.put(place.house.db, replace(record, status="Ready"))
                assert process.wait(20) == 9
                replicas.put(place.house.db, replace(record, status="Starting"))
        failure = json.loads(came(place, told["FailureLocation"]))
    assert "in the midst of the call" in failure["failureReason"]
    assert "3 times" in failure["failureReason"]


def test_one_that_waits_too_long_or_whose_endpoint_goes_is_failed(place, monkeypatch):
    late = put_endpoint(place.house, "none", status="Creating", **configured())
    gone = put_endpoint(place.house, "gone", status="Creating", **configured())
    told = [ask(place, {}, endpoint="none", RequestTTLSeconds=60), ask(place, {}, endpoint="gone")]
    endpoints.remove(place.house.db, gone)
    now = clock.now()
    monkeypatch.setattr(async_invocations.clock, "now", lambda: now.replace(year=now.year + 1))
    with at_work(place.house):
        reasons = [json.loads(came(place, one["FailureLocation"]))["failureReason"] for one in told]
    assert "RequestTTLSeconds" in reasons[0]
    assert reasons[1]
    assert late not in waiting(place)


def test_a_failure_waits_for_the_store_that_is_away_and_the_model_is_not_asked_again(place, monkeypatch):
    tries, put = [], RoleObjects.put_bytes
    asked = place.folder / "asked.once"

    def put_when_back(objects, bucket, key, *rest):
        tries.append(key)
        if len(tries) == 1:
            asked.unlink()
        if len(tries) < 3:
            raise OSError(errno.ECONNREFUSED, "the store is away")
        return put(objects, bucket, key, *rest)

    told = ask(place, {"status": 400, "error": "row 3 is no number", "reached": str(asked)})
    monkeypatch.setattr(RoleObjects, "put_bytes", put_when_back)
    with at_work(place.house):
        failure = json.loads(came(place, told["FailureLocation"]))
        wait_until(lambda: not waiting(place), "the row to go")
    assert "row 3 is no number" in failure["failureReason"]
    assert len(tries) == 3
    assert not asked.exists()  # taken away at the first try


def test_an_input_that_is_exchanged_while_it_is_read_is_not_sent(place, monkeypatch):
    stream = RoleObjects.stream

    def exchanged_first(objects, bucket, key, *, etag):
        place.house.objects.put_bytes(bucket, key, bytes(26 * 2**20))
        return stream(objects, bucket, key, etag=etag)

    told = ask(place, {"answer": "x"})
    monkeypatch.setattr(RoleObjects, "stream", exchanged_first)
    with at_work(place.house):
        failure = json.loads(came(place, told["FailureLocation"]))
    assert failure["failureReason"].endswith("was changed or deleted while it was read.")


def test_places_go_to_who_has_the_fewest(place):
    runner = AsyncInvocations(place.house)
    runner._accounts = {"a1": "a", "a2": "a", "b": "b", "c": "c"}
    assert runner._shares({"a1": 1000, "a2": 1000}, Counter(b=10)) == {"a1": 24, "a2": 24}
    assert runner._shares({"a1": 1000, "b": 1000, "c": 2}, Counter()) == {"a1": 31, "b": 31, "c": 2}
    assert runner._shares({"a1": 1000, "b": 1000}, Counter(a1=40)) == {"b": 24}
    assert runner._shares({"a1": 3, "b": 0}, Counter(a1=1)) == {"a1": 3}


def test_an_invoker_s_key_is_enough_and_no_other_account_s(place):
    credentials = place.house.credentials
    principal, secret = credentials.create(account_id="000000000000", kind="invoker", name="invoker")
    runtime = place.server.client("sagemaker-runtime", key=principal.access_key_id, secret=secret)
    told = runtime.invoke_endpoint_async(EndpointName="plain", Body=b"x")
    with at_work(place.house):
        assert came(place, told["OutputLocation"]) == b"x"
    principal, secret = credentials.create(account_id="111111111111", kind="admin", name="other")
    other = place.server.client("sagemaker-runtime", key=principal.access_key_id, secret=secret)
    with pytest.raises(ClientError, match="not found"):
        other.invoke_endpoint_async(EndpointName="plain", Body=b"x")
