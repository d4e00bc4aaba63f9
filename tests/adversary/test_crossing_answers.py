"""Two tenants ask endpoints of one name at once: each answer is of one's own model, to one's own question.

GYROPILOT_ANSWERS says how often they ask, together.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError

import mean_gyropilot
import services

OTHER = "111111111111"
COUNT = int(os.environ.get("GYROPILOT_ANSWERS", "600"))
CALLERS = 8
NAME = "asked-by-both"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    home = tmp_path_factory.mktemp("crossing") / "home"
    with services.running(home, program=mean_gyropilot.PROGRAM, calls_per_second=100_000) as running:
        yield running


@pytest.fixture(scope="module")
def tenants(service):
    made = service.gyropilot("keys", "create", "--kind", "admin", "--name", "other", "--account", OTHER, "--json")
    key = json.loads(made.stdout)
    role = service.gyropilot("roles", "add", "all", "--read", "s3://*", "--write", "s3://*", "--account", OTHER)
    variables = service.variables | {
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        "GYROPILOT_ROLE_ARN": role.stdout.strip(),
    }
    return (
        _deployed(service.variables, bucket="one", numbers=b"1\n2\n3\n"),
        _deployed(variables, bucket="other", numbers=b"10\n20\n"),
    )


def _deployed(variables, *, bucket, numbers):
    """Give a tenant with a trained and deployed model, and the mean that it learned."""
    tenant = SimpleNamespace(variables=variables)
    tenant.boto3 = lambda name: services.Process.boto3(tenant, name)
    s3, sagemaker = tenant.boto3("s3"), tenant.boto3("sagemaker")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="numbers/a.csv", Body=numbers)
    request = mean_gyropilot.mean_request(tenant, NAME)
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/numbers/"}}
    request["AutoMLJobInputDataConfig"] = [{"DataSource": source}]
    request["OutputDataConfig"] = {"S3OutputPath": f"s3://{bucket}/out"}
    sagemaker.create_auto_ml_job_v2(**request, ModelDeployConfig={"EndpointName": NAME})
    services.wait_until(lambda: _is_completed(sagemaker), seconds=60, what=lambda: "the job to end")
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=NAME, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    values = [float(one) for one in numbers.split()]
    tenant.mean = sum(values) / len(values)
    tenant.runtime = tenant.boto3("sagemaker-runtime")
    return tenant


def _is_completed(sagemaker):
    job = sagemaker.describe_auto_ml_job_v2(AutoMLJobName=NAME)
    assert job["AutoMLJobStatus"] != "Failed", job["FailureReason"]
    return job["AutoMLJobStatus"] == "Completed"


@pytest.mark.slow
def test_no_answer_crosses_over(tenants):
    def ask(number):
        tenant = tenants[number % 2]
        question = f"echo {tenant.mean} {number}"
        answered = tenant.runtime.invoke_endpoint(EndpointName=NAME, ContentType="text/csv", Body=question.encode())
        return answered["Body"].read().decode() == f"{tenant.mean},{question}\n"

    with ThreadPoolExecutor(CALLERS) as pool:
        answered_right = list(pool.map(ask, range(COUNT)))
    assert answered_right == [True] * COUNT


def test_the_others_endpoint_is_as_if_missing(service, tenants):
    sagemaker = tenants[0].boto3("sagemaker")
    sagemaker.create_endpoint(EndpointName="of-one", EndpointConfigName=_config_of(sagemaker))
    told = []
    for name in ("of-one", "of-nobody"):
        with pytest.raises(ClientError) as caught:
            tenants[1].runtime.invoke_endpoint(EndpointName=name, ContentType="text/csv", Body=b"1")
        told.append((caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]))
    (code, message), (other_code, other_message) = told
    assert (code, message.replace("of-one", "of-nobody")) == (other_code, other_message)


def _config_of(sagemaker):
    return sagemaker.describe_endpoint(EndpointName=NAME)["EndpointConfigName"]
