"""Tags of jobs, by boto3 and the AWS CLI."""

import json

import botocore.exceptions
import pytest

import services


@pytest.fixture(scope="module")
def arn(service):
    request = services.request(service, "tagged") | {"Tags": [{"Key": "team", "Value": "Zürich"}]}
    return service.boto3("sagemaker").create_auto_ml_job_v2(**request)["AutoMLJobArn"]


def test_boto3_adds_lists_and_deletes_tags(service, arn):
    sagemaker = service.boto3("sagemaker")
    answer = sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "stage", "Value": "test"}])
    assert {one["Key"] for one in answer["Tags"]} >= {"team", "stage"}
    pages = sagemaker.get_paginator("list_tags").paginate(ResourceArn=arn)
    assert {"Key": "team", "Value": "Zürich"} in [one for page in pages for one in page["Tags"]]
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["stage"])
    assert "stage" not in {one["Key"] for one in sagemaker.list_tags(ResourceArn=arn)["Tags"]}


def test_the_aws_cli_adds_and_lists_tags(service, arn):
    ran = service.aws("sagemaker", "add-tags", "--resource-arn", arn, "--tags", "Key=by,Value=cli")
    assert ran.returncode == 0, ran.stderr
    ran = service.aws("sagemaker", "list-tags", "--resource-arn", arn)
    assert {"Key": "by", "Value": "cli"} in json.loads(ran.stdout)["Tags"], ran.stderr


@pytest.mark.parametrize("kind", ["automl-job/nobody", "model/nobody", "endpoint/nobody"])
def test_an_unknown_arn_is_a_validation_exception(service, kind):
    arn = f"arn:aws:sagemaker:us-east-1:000000000000:{kind}"
    with pytest.raises(botocore.exceptions.ClientError, match="There is no resource") as caught:
        service.boto3("sagemaker").list_tags(ResourceArn=arn)
    assert caught.value.response["Error"]["Code"] == "ValidationException"


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ([f"k{number}" for number in range(50)], "at most 50 tags"),
        ([f"k{number}" for number in range(51)], "less than or equal to 50"),
        (["aws:mine"], "reserved"),
    ],
)
def test_too_many_tags_and_reserved_keys_are_refused(service, arn, keys, told):
    tags = [{"Key": key, "Value": ""} for key in keys]
    with pytest.raises(botocore.exceptions.ClientError, match=told) as caught:
        service.boto3("sagemaker").add_tags(ResourceArn=arn, Tags=tags)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
