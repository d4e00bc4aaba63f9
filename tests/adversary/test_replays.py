"""Requests that somebody recorded and sends again, byte for byte: the second time changes nothing more."""

import json

import pytest

import raw_requests
import services
from raw_requests import Line, call, signed
from stored_state import is_idle, state_of

JOB = "replayed"


@pytest.fixture(scope="module")
def recorded(quiet_service, key):
    """The calls of a job's life, signed; sent in this order each succeeds."""
    arn = f"arn:aws:sagemaker:us-east-1:000000000000:automl-job/{JOB}"
    request = services.request(quiet_service, JOB)
    once = {"amz_sdk_invocation_id": "a-call-of-a-client", "amz_sdk_request": "attempt=1"}
    return {
        "create, by a client": call(key, "CreateAutoMLJobV2", request, **once),
        "create, by hand": call(key, "CreateAutoMLJobV2", request | {"AutoMLJobName": f"{JOB}-2"}),
        "add tags": call(
            key, "AddTags", {"ResourceArn": arn, "Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}]}
        ),
        "delete tags": call(key, "DeleteTags", {"ResourceArn": arn, "TagKeys": ["b"]}),
        "stop": call(key, "StopAutoMLJob", {"AutoMLJobName": JOB}),
        "stop 2": call(key, "StopAutoMLJob", {"AutoMLJobName": f"{JOB}-2"}),
        "put": signed(key, "PUT", "/data/replayed", body=b"bytes", service="s3"),
        "delete": signed(key, "DELETE", "/data/replayed", service="s3"),
    }


def test_each_call_sent_twice_is_harmless(quiet_service, key, recorded):
    with Line(key.url) as line:
        for what, request in recorded.items():
            first, second = line.ask(request), line.ask(request)
            assert first.status in (200, 204), (what, first)
            if what == "create, by hand":
                assert (second.status, second.code) == (400, "ResourceInUse")
            else:
                assert (second.status, second.body) == (first.status, first.body), what
        listed = json.loads(line.ask(call(key, "ListAutoMLJobs", {"NameContains": JOB})).body)["AutoMLJobSummaries"]
        assert sorted(one["AutoMLJobName"] for one in listed) == [JOB, f"{JOB}-2"]


def test_the_whole_recording_sent_again_to_ended_jobs_changes_no_job(quiet_service, key, recorded):
    services.wait_until(lambda: is_idle(quiet_service.home), seconds=60, what="the jobs to end")
    before = state_of(quiet_service.home)
    with Line(key.url) as line:
        for request in recorded.values():
            assert line.ask(request).status < 500
    after = state_of(quiet_service.home)
    assert after.keys() == before.keys()
    assert [name for name in before if before[name] != after[name]] == []


def test_another_caller_s_retry_is_no_retry(quiet_service, key):
    """An invocation id names a call of one key; under another key it is somebody else's."""
    request = services.request(quiet_service, "one-callers")
    made = quiet_service.gyropilot("keys", "create", "--kind", "operator", "--name", "second", "--json")
    given = json.loads(made.stdout)
    second = raw_requests.Key(url=key.url, access_key=given["AccessKeyId"], secret=given["SecretAccessKey"])
    same = {"amz_sdk_invocation_id": "the-same-invocation"}
    assert raw_requests.ask(key, call(key, "CreateAutoMLJobV2", request, **same)).status == 200
    answer = raw_requests.ask(second, call(second, "CreateAutoMLJobV2", request, **same))
    quiet_service.boto3("sagemaker").stop_auto_ml_job(AutoMLJobName="one-callers")
    assert (answer.status, answer.code) == (400, "ResourceInUse")


def test_a_retry_with_another_request_is_no_retry(quiet_service, key):
    request = services.request(quiet_service, "changed-retry")
    same = {"amz_sdk_invocation_id": "one-more-invocation"}
    assert raw_requests.ask(key, call(key, "CreateAutoMLJobV2", request, **same)).status == 200
    other = request | {"OutputDataConfig": {"S3OutputPath": "s3://data/elsewhere"}}
    answer = raw_requests.ask(key, call(key, "CreateAutoMLJobV2", other, **same))
    quiet_service.boto3("sagemaker").stop_auto_ml_job(AutoMLJobName="changed-retry")
    assert (answer.status, answer.code) == (400, "ResourceInUse")
