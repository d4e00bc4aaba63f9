"""Invocations of an endpoint, changed after they were signed: all refused, none of them kept, none answered."""

import itertools
import os
import random

import pytest
from sqlalchemy import select

import raw_requests
import request_mutations
import runtime_servers
from gyropilot.store import tables
from raw_requests import Line, signed
from runtime_servers import put_endpoint, put_replica, variant

SEED = int(os.environ.get("GYROPILOT_SEED", random.SystemRandom().randrange(2**32)))
COUNT = int(os.environ.get("GYROPILOT_MUTATIONS", 50))
PAYLOAD = b'{"precious": 1}'
ASYNC = {"OutputConfig": {"S3OutputPath": "s3://data/answers"}}
CALLS = {
    "invocations": {"Content-Type": "text/csv", "X-Amzn-SageMaker-Custom-Attributes": "trace=1"},
    "invocations-response-stream": {"X-Amzn-SageMaker-Target-Variant": "main"},
    "async-invocations": {"X-Amzn-SageMaker-Inference-Id": "mine"},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("r")
    with runtime_servers.running(folder, ["a"]) as server:
        endpoint = put_endpoint(server.house, "victim", [variant("main")], **{"async": ASYNC})
        put_replica(server.house, endpoint, folder / "a")
        yield server


@pytest.fixture
def key(place):
    return raw_requests.Key(url=place.url, access_key=place.key, secret=place.secret)


def kept(place):
    with place.house.db.read() as connection:
        return len(connection.execute(select(tables.async_invocations)).all())


def refuse_all(key, changes):
    with Line(key.url) as line:
        for what, changed in changes:
            answer = line.ask(changed)
            assert 400 <= answer.status < 500, f"{what}\n{changed.written()}\n{answer}"
            assert key.secret.encode() not in answer.body
            assert b"precious" not in answer.body


@pytest.mark.parametrize("operation", CALLS)
def test_an_invocation_that_is_not_as_it_was_signed_is_refused(place, key, operation):
    print(f"GYROPILOT_SEED={SEED}")
    target, before = f"/endpoints/victim/{operation}", kept(place)
    request = signed(key, target=target, headers=CALLS[operation], body=PAYLOAD)
    refuse_all(key, itertools.islice(request_mutations.mutations(random.Random(f"{SEED} {operation}"), request), COUNT))
    given = ("POST", target, CALLS[operation], PAYLOAD, "sagemaker")
    refuse_all(key, request_mutations.missigned(key, *given))
    refuse_all(key, request_mutations.framed_otherwise(request))
    assert kept(place) == before
    with Line(key.url) as line:
        assert line.ask(request).status == (202 if operation == "async-invocations" else 200)


def test_members_that_were_not_signed_are_not_read(key):
    request = signed(key, target="/endpoints/victim/invocations", body=PAYLOAD)
    added = (
        (name, request.with_header(f"X-Amzn-SageMaker-{name}", "main"))
        for name in ("Target-Variant", "Custom-Attributes", "Inference-Id", "Content-Type")
    )
    refuse_all(key, added)
