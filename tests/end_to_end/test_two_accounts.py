"""Two accounts in one service: each works as if alone."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError

import services

OTHER = "111111111111"


@pytest.fixture(scope="module")
def other(service):
    """The service as the admin of another account sees it, with a role that reaches all of that account's buckets."""
    made = service.gyropilot("keys", "create", "--kind", "admin", "--name", "other", "--account", OTHER, "--json")
    key = json.loads(made.stdout)
    everything = ("--read", "s3://*", "--write", "s3://*", "--account", OTHER)
    role = service.gyropilot("roles", "add", "everything", *everything)
    assert role.returncode == 0, role.stderr
    variables = service.variables | {
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        "GYROPILOT_ROLE_ARN": role.stdout.strip(),
    }
    seen = SimpleNamespace(variables=variables)
    seen.boto3 = lambda name: services.Process.boto3(seen, name)
    seen.sdk = lambda: services.Process.sdk(seen)
    return seen


def code(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"]


def channel(uri):
    return [{"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}}]


@pytest.mark.slow
def test_another_account_trains_in_its_own_buckets(service, other):
    services.put_rows(other, services.rows(20), bucket="others")
    request = services.request(other, "shared-name") | {
        "AutoMLJobInputDataConfig": channel("s3://others/train/"),
        "OutputDataConfig": {"S3OutputPath": "s3://others/out"},
    }
    arn = other.sdk().create_job(request)
    assert f":{OTHER}:" in arn
    job = other.sdk().wait("shared-name", timeout_seconds=120, poll_seconds=0.2)
    assert job["AutoMLJobStatus"] == "Completed", job
    listed = other.boto3("s3").list_objects_v2(Bucket="others", Prefix="out/shared-name/")
    assert "out/shared-name/manifest.json" in [one["Key"] for one in listed["Contents"]]

    first = service.boto3("sagemaker")
    assert code(first.describe_auto_ml_job_v2, AutoMLJobName="shared-name") == "ResourceNotFound"
    assert "shared-name" not in [one["AutoMLJobName"] for one in service.sdk().jobs()]
    assert code(service.boto3("s3").list_objects_v2, Bucket="others") == "AccessDenied"
    service.sdk().create_job(services.request(service, "shared-name"))
    service.sdk().stop("shared-name")


@pytest.mark.slow
def test_a_job_reaches_no_other_account_s_bucket_by_any_field(service, other):
    services.put_rows(other, services.rows(5), bucket="own")
    good = services.request(other, "thief") | {
        "AutoMLJobInputDataConfig": channel("s3://own/train/"),
        "OutputDataConfig": {"S3OutputPath": "s3://own/out"},
    }
    changes = (
        {"AutoMLJobInputDataConfig": channel("s3://data/train/")},
        {"OutputDataConfig": {"S3OutputPath": "s3://data/stolen"}},
        {"RoleArn": service.variables["GYROPILOT_ROLE_ARN"]},
    )
    for change in changes:
        assert code(other.boto3("sagemaker").create_auto_ml_job_v2, **good | change) == "ValidationException"
    assert code(other.boto3("sagemaker").describe_auto_ml_job_v2, AutoMLJobName="thief") == "ResourceNotFound"
