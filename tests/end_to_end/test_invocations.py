"""The runtime calls on a real endpoint of `gyropilot up`, and asynchronous ones over the death of the service."""

import json

import pytest

import mean_gyropilot
import services

pytestmark = pytest.mark.slow
ASYNC = {
    "OutputConfig": {"S3OutputPath": "s3://data/answers", "S3FailurePath": "s3://data/failures"},
    "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 2},
}


def test_an_endpoint_is_asked_in_every_way_and_what_was_taken_is_answered_after_a_crash(tmp_path):
    with services.running(tmp_path / "home", program=mean_gyropilot.PROGRAM, cores=1, memory_gib=1) as service:
        mean_gyropilot.put_numbers(service)
        mean_gyropilot.put_endpoint(service, "mean", AsyncInferenceConfig=ASYNC)
        runtime, given = service.boto3("sagemaker-runtime"), {"EndpointName": "mean", "ContentType": "text/csv"}

        answer = runtime.invoke_endpoint(Body=b"1\n2\n", TargetVariant="main", **given)
        assert (answer["Body"].read(), answer["InvokedProductionVariant"]) == (b"2.0\n2.0\n", "main")
        with pytest.raises(runtime.exceptions.ModelError, match="is the fault asked for") as caught:
            runtime.invoke_endpoint(Body=b"refuse\n", **given)
        assert caught.value.response["OriginalStatusCode"] == 400

        streamed = runtime.invoke_endpoint_with_response_stream(Body=b"1\n2\n3\n", **given)
        assert streamed["ContentType"] == "text/csv"
        assert b"".join(event["PayloadPart"]["Bytes"] for event in streamed["Body"]) == b"2.0\n" * 3

        told = [runtime.invoke_endpoint_async(Body=b"sleep 0.5\n", **given) for _ in range(6)]
        refused = runtime.invoke_endpoint_async(Body=b"refuse\n", **given)
        service.kill()
        service.start()
        assert [came(service, one["OutputLocation"]) for one in told] == [b"2.0\n"] * 6
        assert "is the fault asked for" in json.loads(came(service, refused["FailureLocation"]))["failureReason"]


def came(service, uri):
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    s3 = service.boto3("s3")
    services.wait_until(
        lambda: s3.list_objects_v2(Bucket=bucket, Prefix=key)["KeyCount"], seconds=60, what=f"an object at {uri}"
    )
    return s3.get_object(Bucket=bucket, Key=key)["Body"].read()
