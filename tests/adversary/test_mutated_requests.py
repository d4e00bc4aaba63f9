"""Requests that change something, changed after they were signed: all refused, and nothing changed in the store."""

import base64
import hashlib
import itertools
import os
import random

import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.credentials import Credentials

import raw_requests
import request_mutations
import services
from raw_requests import JSON, Line, signed
from stored_state import is_idle, state_of

SEED = int(os.environ.get("GYROPILOT_SEED", random.SystemRandom().randrange(2**32)))
COUNT = int(os.environ.get("GYROPILOT_MUTATIONS", 50))
"""Of each of the requests below; more on request."""

DELETION = b"<Delete><Object><Key>victim</Key></Object></Delete>"


def api(operation):
    return {"Content-Type": JSON, "X-Amz-Target": f"SageMaker.{operation}"}


def create(service, key):
    request = raw_requests.call(key, "CreateAutoMLJobV2", services.request(service, "mutated"))
    return "POST", "/", dict(api("CreateAutoMLJobV2")), request.body, "sagemaker"


def stop(_service, _key):
    return "POST", "/", dict(api("StopAutoMLJob")), b'{"AutoMLJobName": "victim"}', "sagemaker"


def put(_service, _key):
    return "PUT", "/data/new-object", {}, b"some bytes", "s3"


def delete(_service, _key):
    return "DELETE", "/data/victim", {}, b"", "s3"


def delete_many(_service, _key):
    digest = base64.b64encode(hashlib.md5(DELETION, usedforsecurity=False).digest()).decode()
    return "POST", "/data?delete", {"Content-MD5": digest}, DELETION, "s3"


def copy(_service, _key):
    return "PUT", "/data/copied", {"x-amz-copy-source": "/data/victim"}, b"", "s3"


def make_bucket(_service, _key):
    return "PUT", "/a-new-bucket", {}, b"", "s3"


REQUESTS = (create, stop, put, copy, make_bucket, delete, delete_many)
"""In an order in which each succeeds after those before it."""


@pytest.fixture(scope="module")
def victims(quiet_service):
    """A job that has ended and an object, there to be changed."""
    quiet_service.boto3("s3").put_object(Bucket="data", Key="victim", Body=b"precious")
    sagemaker = quiet_service.boto3("sagemaker")
    sagemaker.create_auto_ml_job_v2(**services.request(quiet_service, "victim"))
    sagemaker.stop_auto_ml_job(AutoMLJobName="victim")

    services.wait_until(lambda: is_idle(quiet_service.home), seconds=60, what="the job to end")


@pytest.fixture
def stored(quiet_service, victims):
    """The state before."""
    return state_of(quiet_service.home)


@pytest.mark.parametrize("make", REQUESTS)
def test_a_request_changed_after_it_was_signed_is_refused(quiet_service, key, stored, make):
    print(f"GYROPILOT_SEED={SEED}")
    method, target, headers, body, service = make(quiet_service, key)
    request = signed(key, method, target, headers=headers, body=body, service=service)
    changes = request_mutations.mutations(random.Random(f"{SEED} {make.__name__}"), request)
    refuse_all(key, itertools.islice(changes, COUNT))
    assert state_of(quiet_service.home) == stored


@pytest.mark.parametrize("make", [create, stop, put, delete])
def test_a_request_signed_for_another_door_time_or_key_is_refused(quiet_service, key, stored, make):
    method, target, headers, body, service = make(quiet_service, key)
    refuse_all(key, request_mutations.missigned(key, method, target, headers, body, service))
    assert state_of(quiet_service.home) == stored


@pytest.mark.parametrize("make", [create, put])
def test_a_body_of_ambiguous_length_is_refused(quiet_service, key, stored, make):
    method, target, headers, body, service = make(quiet_service, key)
    request = signed(key, method, target, headers=headers, body=body, service=service)
    refuse_all(key, request_mutations.framed_otherwise(request))
    assert state_of(quiet_service.home) == stored


@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_a_presigned_request_that_was_changed_is_refused(quiet_service, key, stored, method):
    print(f"GYROPILOT_SEED={SEED}")
    signer = S3SigV4QueryAuth(Credentials(key.access_key, key.secret), "s3", key.region, expires=600)
    request = signed(key, method, "/data/presigned" if method == "PUT" else "/data/victim", body=b"", signer=signer)
    changes = request_mutations.mutations(random.Random(SEED), request)
    refuse_all(key, itertools.islice(changes, COUNT))
    assert state_of(quiet_service.home) == stored


def refuse_all(key, changes):
    with Line(key.url) as line:
        for what, changed in changes:
            answer = line.ask(changed)
            assert 400 <= answer.status < 500, f"{what}\n{changed.written()}\n{answer}"
            assert key.secret.encode() not in answer.body


def test_an_unknown_key_is_answered_as_a_wrong_signature(quiet_service, key, stored):
    method, target, headers, body, service = stop(quiet_service, key)
    answers = {}
    with Line(key.url) as line:
        for kind, access_key in (("unknown", "GYROAAAAAAAAAAAAAAAA"), ("wrong", key.access_key)):
            caller = Credentials(access_key, "not the secret")
            signer = request_mutations.SigV4Auth(caller, service, key.region)
            answers[kind] = line.ask(signed(key, method, target, headers=headers, body=body, signer=signer))
    assert answers["unknown"] == answers["wrong"]
    assert answers["unknown"].code == "InvalidSignatureException"


def test_the_requests_themselves_are_taken(quiet_service, key, stored):
    """Unchanged they succeed, so every refusal above was for the change."""
    with Line(key.url) as line:
        for make in REQUESTS:
            method, target, headers, body, service = make(quiet_service, key)
            answer = line.ask(signed(key, method, target, headers=headers, body=body, service=service))
            assert answer.status in (200, 204), (make.__name__, answer)
    assert state_of(quiet_service.home) != stored
