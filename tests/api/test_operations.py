"""An unmodified client calls every operation."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import botocore.session
import pytest
from botocore.exceptions import ClientError

import houses
from api_servers import serving
from gyropilot.wire import service_model
from mean_problem import MEAN
from new_jobs import in_threads


@pytest.fixture(scope="module")
def gyropilot(server, tmp_path_factory):
    """A botocore client made from our own service model."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "gyropilot" / "2025-01-01").mkdir(parents=True)
    model = Path(service_model.__file__).with_name("gyropilot-service-2.json").read_bytes()
    (folder / "gyropilot" / "2025-01-01" / "service-2.json").write_bytes(model)
    session = botocore.session.Session()
    session.get_component("data_loader").search_paths.append(str(folder))
    return server.client("gyropilot", session=session)


def test_a_job_is_created_described_listed_and_stopped(sagemaker):
    request = houses.mean_request("first", tags={"team": "Zürich 東京"})
    arn = sagemaker.create_auto_ml_job_v2(**request)["AutoMLJobArn"]
    assert arn == "arn:aws:sagemaker:us-east-1:000000000000:automl-job/first"

    described = sagemaker.describe_auto_ml_job_v2(AutoMLJobName="FIRST")
    assert described["AutoMLJobArn"] == arn
    assert described["AutoMLProblemTypeConfig"] == request["AutoMLProblemTypeConfig"]
    assert described["AutoMLJobStatus"] == "InProgress"
    assert abs(described["CreationTime"] - datetime.now(UTC)) < timedelta(minutes=1)
    assert "FailureReason" not in described

    hour = timedelta(hours=1)
    listed = sagemaker.list_auto_ml_jobs(NameContains="firs", CreationTimeAfter=datetime.now(UTC) - hour)
    assert [one["AutoMLJobName"] for one in listed["AutoMLJobSummaries"]] == ["first"]
    assert sagemaker.list_auto_ml_jobs(CreationTimeBefore=datetime.now(UTC) - hour)["AutoMLJobSummaries"] == []
    assert sagemaker.list_candidates_for_auto_ml_job(AutoMLJobName="first")["Candidates"] == []

    stopped = sagemaker.stop_auto_ml_job(AutoMLJobName="first")
    assert stopped.keys() == {"ResponseMetadata"}
    assert sagemaker.describe_auto_ml_job_v2(AutoMLJobName="first")["AutoMLJobStatus"] == "Stopped"


def test_the_pages_of_a_listing_hold_every_job_once(sagemaker):
    names = [f"page-{number}" for number in range(5)]
    for name in names:
        sagemaker.create_auto_ml_job_v2(**houses.mean_request(name))
    pages = sagemaker.get_paginator("list_auto_ml_jobs").paginate(
        NameContains="page-", SortOrder="Ascending", PaginationConfig={"PageSize": 2}
    )
    sizes = [[one["AutoMLJobName"] for one in page["AutoMLJobSummaries"]] for page in pages]
    assert [len(page) for page in sizes] == [2, 2, 1]
    assert [name for page in sizes for name in page] == names


def test_errors_arrive_as_the_client_s_modelled_exceptions(sagemaker):
    sagemaker.create_auto_ml_job_v2(**houses.mean_request("taken"))
    with pytest.raises(sagemaker.exceptions.ResourceInUse) as taken:
        sagemaker.create_auto_ml_job_v2(**houses.mean_request("Taken"))
    assert "already exists" in taken.value.response["Error"]["Message"]
    assert taken.value.response["Message"] == taken.value.response["Error"]["Message"]
    for call in (sagemaker.describe_auto_ml_job_v2, sagemaker.list_candidates_for_auto_ml_job):
        with pytest.raises(sagemaker.exceptions.ResourceNotFound) as missing:
            call(AutoMLJobName="no-such-job")
        assert missing.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    with pytest.raises(sagemaker.exceptions.ResourceNotFound):
        sagemaker.stop_auto_ml_job(AutoMLJobName="no-such-job")


def test_all_faults_of_a_request_reach_the_client_at_once(sagemaker):
    request = houses.mean_request("-no-", RoleArn="arn:aws:iam::1:role/too-short")
    request["AutoMLJobObjective"] = {"MetricName": "Speed"}
    with pytest.raises(ClientError) as error:
        sagemaker.create_auto_ml_job_v2(**request)
    told = error.value.response["Error"]
    assert told["Code"] == "ValidationException"
    assert told["Message"].startswith("3 validation errors detected: Value '-no-' at 'autoMLJobName' failed to satisfy")
    assert "'roleArn'" in told["Message"]
    assert "'autoMLJobObjective.metricName'" in told["Message"]


def test_faults_that_the_rules_find_are_validation_exceptions(sagemaker):
    with pytest.raises(ClientError) as error:
        sagemaker.create_auto_ml_job_v2(**houses.mean_request("rules", tags={"fault": "request"}))
    assert error.value.response["Error"]["Code"] == "ValidationException"


def test_an_operation_that_is_not_built_is_named(sagemaker):
    with pytest.raises(ClientError, match="CreateLabelingJob is not built here yet") as error:
        sagemaker.stop_labeling_job.__self__._make_api_call(
            "CreateLabelingJob",
            {
                "LabelingJobName": "a",
                "LabelAttributeName": "b",
                "InputConfig": {"DataSource": {}},
                "OutputConfig": {"S3OutputPath": "s3://a/b"},
                "RoleArn": houses.ROLE,
                "HumanTaskConfig": {
                    "WorkteamArn": "arn:aws:sagemaker:us-east-1:000000000000:workteam/private-crowd/a",
                    "UiConfig": {},
                    "TaskTitle": "a",
                    "TaskDescription": "b",
                    "NumberOfHumanWorkersPerDataObject": 1,
                    "TaskTimeLimitInSeconds": 30,
                },
            },
        )
    assert error.value.response["Error"]["Code"] == "UnknownOperationException"
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_a_retried_create_is_one_job(server):
    """The same invocation id, as a client sends it again after a lost answer, gives the same job."""
    client = server.client()

    def same_invocation(request, **_):
        request.headers["amz-sdk-invocation-id"] = "11111111-2222-3333-4444-555555555555"

    client.meta.events.register("before-send.sagemaker.*", same_invocation)
    first = client.create_auto_ml_job_v2(**houses.mean_request("retried"))["AutoMLJobArn"]
    assert client.create_auto_ml_job_v2(**houses.mean_request("retried"))["AutoMLJobArn"] == first


def test_a_create_that_arrives_many_times_at_once_is_one_job(server):
    def create(_):
        client = server.client()

        def same_invocation(request, **_):
            request.headers["amz-sdk-invocation-id"] = "99999999-2222-3333-4444-555555555555"

        client.meta.events.register("before-send.sagemaker.*", same_invocation)
        return client.create_auto_ml_job_v2(**houses.mean_request("at-once"))["AutoMLJobArn"]

    assert set(in_threads(8, create)) == {"arn:aws:sagemaker:us-east-1:000000000000:automl-job/at-once"}


def test_an_account_at_its_quota_reads_so_as_a_modelled_exception(tmp_path):
    house = houses.build(tmp_path, (MEAN,), open_jobs_per_account=1)
    with serving(house) as server:
        client = server.client()
        client.create_auto_ml_job_v2(**houses.mean_request("one"))
        with pytest.raises(client.exceptions.ResourceLimitExceeded, match="The account-level service limit"):
            client.create_auto_ml_job_v2(**houses.mean_request("two"))
    house.db.close()


def test_our_own_operations_answer_a_client_of_our_model(server, sagemaker, gyropilot):
    sagemaker.create_auto_ml_job_v2(**houses.mean_request("watched"))
    progress = gyropilot.describe_job_progress(AutoMLJobName="watched")
    assert (progress["AutoMLJobName"], progress["Status"]) == ("watched", "InProgress")
    listed = gyropilot.list_job_events(AutoMLJobName="watched", AfterSequence=0)["Events"]
    assert [one["Sequence"] for one in listed] == list(range(1, len(listed) + 1))
    assert all(isinstance(one["At"], datetime) for one in listed)
    assert gyropilot.get_job_log(AutoMLJobName="watched") | {"ResponseMetadata": 0} == {
        "Text": "",
        "NextOffset": 0,
        "ResponseMetadata": 0,
    }
    assert "SmolLM2-135M-Instruct" in {one["Name"] for one in gyropilot.list_base_models()["BaseModels"]}
    with pytest.raises(gyropilot.exceptions.ResourceNotFound):
        gyropilot.describe_job_progress(AutoMLJobName="no-such-job")
    with pytest.raises(ClientError, match="less than or equal to 1000"):
        gyropilot.list_job_events(AutoMLJobName="watched", MaxResults=1001)


def test_every_answer_has_a_request_id(sagemaker):
    first = sagemaker.list_auto_ml_jobs()["ResponseMetadata"]
    second = sagemaker.list_auto_ml_jobs()["ResponseMetadata"]
    assert len(first["RequestId"]) == 36
    assert first["RequestId"] != second["RequestId"]
    assert first["HTTPHeaders"]["content-type"] == "application/x-amz-json-1.1"


def test_what_is_stored_is_what_came(server, sagemaker):
    request = houses.mean_request("as-it-came")
    sagemaker.create_auto_ml_job_v2(**request)
    described = sagemaker.describe_auto_ml_job_v2(AutoMLJobName="as-it-came")
    for name in ("AutoMLJobInputDataConfig", "OutputDataConfig", "RoleArn"):
        assert json.dumps(described[name], sort_keys=True) == json.dumps(request[name], sort_keys=True)
