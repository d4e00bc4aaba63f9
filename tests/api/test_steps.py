"""Training and processing jobs, by an unmodified client: the steps that candidates name."""

import pytest
from botocore.exceptions import ClientError

import houses
from gyropilot import clock
from gyropilot.store import candidates, leases
from gyropilot.store.candidates import CandidateRecord

GOOD, BAD = "one-mean-1", "one-mean-0"


@pytest.fixture(scope="module")
def sagemaker(trained):
    return trained.client()


def test_every_training_step_that_a_candidate_names_is_described(sagemaker):
    for job in ("one", "broken"):
        described = sagemaker.describe_auto_ml_job_v2(AutoMLJobName=job)
        for candidate in sagemaker.list_candidates_for_auto_ml_job(AutoMLJobName=job)["Candidates"]:
            (step,) = candidate["CandidateSteps"]
            assert step["CandidateStepType"] == "AWS::SageMaker::TrainingJob"
            training = sagemaker.describe_training_job(TrainingJobName=step["CandidateStepName"])
            assert training["TrainingJobArn"] == step["CandidateStepArn"]
            assert training["AutoMLJobArn"] == described["AutoMLJobArn"]
            assert training["TrainingJobStatus"] == candidate["CandidateStatus"]


def test_a_completed_training_tells_model_metrics_channels_and_times(sagemaker):
    training = sagemaker.describe_training_job(TrainingJobName=GOOD)
    best = sagemaker.describe_auto_ml_job_v2(AutoMLJobName="one")["BestCandidate"]
    assert training["ModelArtifacts"]["S3ModelArtifacts"] == best["InferenceContainers"][0]["ModelDataUrl"]
    (metric,) = training["FinalMetricDataList"]
    assert metric["MetricName"] == "MSE"
    assert metric["Value"] == pytest.approx(best["FinalAutoMLJobObjectiveMetric"]["Value"])
    (channel,) = training["InputDataConfig"]
    assert channel["ChannelName"] == "training"
    assert channel["DataSource"]["S3DataSource"] == {"S3DataType": "S3Prefix", "S3Uri": "s3://data/numbers/"}
    assert training["OutputDataConfig"] == {"S3OutputPath": "s3://data/out/"}
    assert training["RoleArn"] == houses.ROLE
    assert training["HyperParameters"]["steps"] == "3"
    assert training["HyperParameters"]["limits.max_candidates"] == "1"
    assert training["CreationTime"] <= training["TrainingStartTime"] <= training["TrainingEndTime"]
    assert training["TrainingTimeInSeconds"] >= 1
    assert [one["Status"] for one in training["SecondaryStatusTransitions"]] == ["Training", "Completed"]
    assert training["SecondaryStatus"] == "Completed"


def test_a_failed_training_tells_why(sagemaker):
    training = sagemaker.describe_training_job(TrainingJobName=BAD)
    assert training["TrainingJobStatus"] == training["SecondaryStatus"] == "Failed"
    assert "is the fault asked for" in training["FailureReason"]
    assert training["SecondaryStatusTransitions"][-1]["StatusMessage"] == training["FailureReason"]
    assert training["ModelArtifacts"]["S3ModelArtifacts"] == "s3://data/out/one/"
    assert training["FinalMetricDataList"] == []


def test_the_trainings_are_listed_newest_first_in_pages_and_by_filters(sagemaker):
    def names(**request):
        pages = sagemaker.get_paginator("list_training_jobs").paginate(**request, PaginationConfig={"PageSize": 1})
        return [one["TrainingJobName"] for page in pages for one in page["TrainingJobSummaries"]]

    assert set(names()) == {"broken-mean-0", BAD, GOOD}
    assert names(SortBy="Name", SortOrder="Ascending") == ["broken-mean-0", BAD, GOOD]
    assert names(NameContains="ONE") == [GOOD, BAD]
    assert names(StatusEquals="Completed") == [GOOD]
    assert names(StatusEquals="Deleting") == names(WarmPoolStatusEquals="Available") == []
    started = sagemaker.describe_training_job(TrainingJobName=GOOD)
    (summary,) = sagemaker.list_training_jobs(StatusEquals="Completed")["TrainingJobSummaries"]
    kept = ("TrainingJobName", "TrainingJobArn", "TrainingJobStatus", "CreationTime", "TrainingEndTime")
    assert {name: summary[name] for name in kept} == {name: started[name] for name in kept}


@pytest.mark.parametrize("kind", ["training", "processing"])
def test_a_step_that_is_not_there_is_resource_not_found(sagemaker, kind):
    describe = getattr(sagemaker, f"describe_{kind}_job")
    with pytest.raises(ClientError, match=f"There is no {kind} job named 'none'") as caught:
        describe(**{f"{kind.title()}JobName": "none"})
    assert caught.value.response["Error"]["Code"] == "ResourceNotFound"


def test_the_waiter_of_a_training_ends(sagemaker):
    sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName=GOOD)


def test_a_processing_step_that_a_candidate_names_is_told(server):
    client = server.client()
    assert client.list_processing_jobs()["ProcessingJobSummaries"] == []
    client.create_auto_ml_job_v2(**houses.mean_request("with-data-step"))
    lease, job = leases.claim(server.house.db, "worker", 60, None)
    arn = f"arn:aws:sagemaker:{job.region}:{job.account_id}:processing-job/db-1-abc"
    step = {
        "CandidateStepType": "AWS::SageMaker::ProcessingJob",
        "CandidateStepArn": arn,
        "CandidateStepName": "db-1-abc",
    }
    now = clock.now()
    record = CandidateRecord(
        job_id=job.id, name="c", status="Completed", objective_status="Succeeded", score=1.0, direction="Minimize",
        body={"CandidateSteps": [step]}, created_at=now, modified_at=now, ended_at=now,
    )  # fmt: skip
    candidates.put(server.house.db, lease, record)
    told = client.describe_processing_job(ProcessingJobName="db-1-abc")
    assert (told["ProcessingJobArn"], told["ProcessingJobStatus"]) == (arn, "Completed")
    assert told["AutoMLJobArn"] == job.arn
    assert told["ProcessingInputs"][0]["S3Input"] == {"S3Uri": "s3://data/numbers/", "S3DataType": "S3Prefix"}
    (listed,) = client.list_processing_jobs()["ProcessingJobSummaries"]
    assert (listed["ProcessingJobName"], listed["ProcessingJobArn"]) == ("db-1-abc", arn)
