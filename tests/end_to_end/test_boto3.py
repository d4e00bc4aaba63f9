"""An unmodified boto3 program against a real service."""

import csv
import hashlib
import json
import sys
from pathlib import Path

import botocore.exceptions
import pytest

import services

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "text_generation.py"


@pytest.mark.slow
def test_the_example_fine_tunes_a_model(service, tmp_path):
    with (tmp_path / "data.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("input", "output"), *services.rows(30)])
    ran = services.run(
        [
            sys.executable,
            EXAMPLE,
            tmp_path / "data.csv",
            "--name=example",
            f"--base-model={services.TINY}",
            "--epochs=2",
        ],
        env=services.clean_environment() | service.variables,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    for said in ("TrainingModels", "Completed", "ValidationLoss", "RougeLSum", "model.tar.gz"):
        assert said in ran.stdout

    job = service.boto3("sagemaker").describe_auto_ml_job_v2(AutoMLJobName="example")
    assert job["EndTime"] >= job["CreationTime"]
    metrics = {one["StandardMetricName"] for one in job["BestCandidate"]["CandidateProperties"]["CandidateMetrics"]}
    assert metrics >= {"TrainingLoss", "ValidationLoss", "Perplexity", "Rouge1", "Rouge2", "RougeL", "RougeLSum"}
    candidates = service.boto3("sagemaker").list_candidates_for_auto_ml_job(AutoMLJobName="example")["Candidates"]
    assert [one["CandidateName"] for one in candidates] == [job["BestCandidate"]["CandidateName"]]
    _check_artifacts(service.boto3("s3"), "gyropilot-example", "example/output/example/")


def _check_artifacts(s3, bucket, prefix):
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
    names = {one["Key"].removeprefix(prefix) for one in listed}
    assert names >= {
        "model.tar.gz",
        "evaluation.json",
        "training.jsonl",
        "lineage.json",
        "report.html",
        "manifest.json",
    }
    manifest = json.loads(s3.get_object(Bucket=bucket, Key=f"{prefix}manifest.json")["Body"].read())
    files = manifest["files"]
    assert files.keys() == names - {"manifest.json"}
    for name, recorded in files.items():
        body = s3.get_object(Bucket=bucket, Key=prefix + name)["Body"].read()
        assert hashlib.sha256(body).hexdigest() == recorded["sha256"], name


def test_a_refused_request_names_every_fault_at_once(service):
    request = services.request(
        service,
        "refused",
        BaseModelName="Tinny",
        TextGenerationHyperParameters={"epochCount": "11", "learningRate": "fast"},
        CompletionCriteria={"MaxCandidates": 2},
    )
    request["AutoMLJobInputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] = "s3://data/nothing-here/"
    request["RoleArn"] = "arn:aws:iam::000000000000:role/stranger"
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        service.boto3("sagemaker").create_auto_ml_job_v2(**request)
    error = caught.value.response
    assert error["Error"]["Code"] == "ValidationException"
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 400
    message = error["Error"]["Message"]
    for named in (
        "BaseModelName",
        "Tiny",
        "epochCount",
        "1 to 10",
        "learningRate",
        "MaxCandidates",
        "RoleArn",
        "stranger",
    ):
        assert named in message, message


def test_shape_faults_are_told_in_the_services_wording(service):
    request = services.request(service, "-bad-name-")
    request["AutoMLJobInputDataConfig"][0]["ChannelType"] = "test"
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        service.boto3("sagemaker").create_auto_ml_job_v2(**request)
    message = caught.value.response["Error"]["Message"]
    assert message.startswith("2 validation errors detected: Value '")
    assert "at 'autoMLJobName' failed to satisfy constraint" in message


@pytest.mark.parametrize("problem", ["TimeSeriesForecastingJobConfig", "ImageClassificationJobConfig"])
def test_a_problem_type_that_is_not_built_is_refused_by_name(service, problem):
    config = {
        "ImageClassificationJobConfig": {},
        "TimeSeriesForecastingJobConfig": {
            "ForecastFrequency": "D",
            "ForecastHorizon": 7,
            "TimeSeriesConfig": {
                "TargetAttributeName": "y",
                "TimestampAttributeName": "t",
                "ItemIdentifierAttributeName": "i",
            },
        },
    }[problem]
    request = services.request(service, "other") | {"AutoMLProblemTypeConfig": {problem: config}}
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        service.boto3("sagemaker").create_auto_ml_job_v2(**request)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert problem in caught.value.response["Error"]["Message"]


def test_wrong_keys_are_refused(service):
    import boto3

    given = service.variables
    stranger = boto3.client(
        "sagemaker",
        endpoint_url=given["AWS_ENDPOINT_URL"],
        region_name=given["AWS_REGION"],
        aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key="not the secret",
    )
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        stranger.list_auto_ml_jobs()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


@pytest.mark.slow
def test_bad_data_fails_the_job_with_file_row_and_column(service):
    s3 = service.boto3("s3")
    s3.put_object(Bucket="data", Key="ragged/rows.csv", Body=b"input,output\na,b\nc,d,e\nf,g\n")
    request = services.request(service, "ragged")
    request["AutoMLJobInputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] = "s3://data/ragged/"
    sagemaker = service.boto3("sagemaker")
    sagemaker.create_auto_ml_job_v2(**request)
    job = services.wait_until(
        lambda: (
            (one := sagemaker.describe_auto_ml_job_v2(AutoMLJobName="ragged"))["AutoMLJobStatus"] == "Failed" and one
        ),
        seconds=60,
        what="the job to fail",
    )
    assert "s3://data/ragged/rows.csv" in job["FailureReason"]
    assert "row 2" in job["FailureReason"] or "row 3" in job["FailureReason"]
    assert "Contents" not in s3.list_objects_v2(Bucket="data", Prefix="out/ragged/")
