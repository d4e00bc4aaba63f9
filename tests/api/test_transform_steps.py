"""Transform jobs that candidates name as their steps: described, and listed among those that callers created."""

import pytest
from botocore.exceptions import ClientError

import houses
from gyropilot import clock
from gyropilot.store import candidates, leases
from gyropilot.store.candidates import CandidateRecord
from mean_transforms import add_model, put, request

CREATED = ["encode-b", "encode-d", "encode-f"]
STEPS = ["Encode-a", "encode-c", "encode-e", "encode-g"]


def step(job, kind, name):
    word = {"transform-job": "TransformJob", "training-job": "TrainingJob"}[kind]
    arn = f"arn:aws:sagemaker:{job.region}:{job.account_id}:{kind}/{name.lower()}"
    return {"CandidateStepType": f"AWS::SageMaker::{word}", "CandidateStepArn": arn, "CandidateStepName": name}


@pytest.fixture(scope="module")
def job(server):
    """A job whose candidates name the steps, beside transform jobs that a caller created between them."""
    client, house = server.client(), server.house
    add_model(house)
    put(house, in__a_csv="1\n")
    client.create_auto_ml_job_v2(**houses.mean_request("encoding"))
    lease, job = leases.claim(house.db, "worker", 600, None)
    for number, name in enumerate(STEPS):
        now = clock.now()
        named = [step(job, "transform-job", name), step(job, "training-job", f"own-{number}")]
        candidates.put(house.db, lease, CandidateRecord(
            job_id=job.id, name=f"c{number}", status="Completed", objective_status="Succeeded", score=1.0,
            direction="Minimize", body={"CandidateSteps": named}, created_at=now, modified_at=now, ended_at=now,
        ))  # fmt: skip
        if number < len(CREATED):
            client.create_transform_job(**request(CREATED[number]))
    return job


@pytest.fixture
def sagemaker(server, job):
    return server.client()


def listed(sagemaker, size=2, **asked):
    pages = sagemaker.get_paginator("list_transform_jobs").paginate(**asked, PaginationConfig={"PageSize": size})
    return [one["TransformJobName"] for page in pages for one in page["TransformJobSummaries"]]


def test_a_step_is_described_by_its_candidate_and_job(sagemaker, job):
    found = sagemaker.describe_transform_job(TransformJobName="encode-A")
    assert (found["TransformJobName"], found["TransformJobStatus"]) == ("Encode-a", "Completed")
    assert found["AutoMLJobArn"] == job.arn
    assert found["ModelName"] == "c0"
    source = {"S3DataType": "S3Prefix", "S3Uri": "s3://data/numbers/"}
    assert found["TransformInput"]["DataSource"] == {"S3DataSource": source}
    (summary,) = sagemaker.list_transform_jobs(NameContains="encode-A")["TransformJobSummaries"]
    assert {name: found[name] for name in ("TransformJobName", "TransformJobArn", "TransformJobStatus")}.items() <= (
        summary.items()
    )


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_steps_and_created_jobs_are_listed_in_one_order_by_pages_of_any_size(sagemaker, size):
    in_order = sorted([*CREATED, *STEPS], key=str.lower)
    asked = {"size": size, "NameContains": "encode"}
    assert listed(sagemaker, SortBy="Name", SortOrder="Ascending", **asked) == in_order
    assert listed(sagemaker, SortBy="Name", SortOrder="Descending", **asked) == in_order[::-1]
    assert listed(sagemaker, SortBy="CreationTime", SortOrder="Ascending", **asked) == in_order
    assert listed(sagemaker, **asked) == in_order[::-1], "newest first"
    by_status = listed(sagemaker, SortBy="Status", SortOrder="Ascending", **asked)
    assert sorted(by_status[:4], key=str.lower) == STEPS
    assert sorted(by_status[4:]) == CREATED
    assert sorted(listed(sagemaker, StatusEquals="InProgress", **asked)) == CREATED


def test_a_token_that_was_changed_is_refused(sagemaker):
    token = sagemaker.list_transform_jobs(MaxResults=1)["NextToken"]
    with pytest.raises(ClientError, match="NextToken"):
        sagemaker.list_transform_jobs(MaxResults=1, NextToken=token[:-8])
    with pytest.raises(ClientError, match="NextToken"):
        sagemaker.list_transform_jobs(MaxResults=1, NextToken=token, SortBy="Name")


def test_what_candidates_do_not_name_is_not_found(sagemaker):
    for name in ("own-0", "none"):
        with pytest.raises(ClientError, match=f"There is no transform job named '{name}'") as caught:
            sagemaker.describe_transform_job(TransformJobName=name)
        assert caught.value.response["Error"]["Code"] == "ResourceNotFound"
