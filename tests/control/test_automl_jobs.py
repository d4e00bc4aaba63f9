import pytest

import houses
from gyropilot.control import automl_jobs
from gyropilot.errors import AlreadyExists, InvalidRequest, LimitExceeded, NotFound
from gyropilot.names import role_arn
from gyropilot.store import roles, tags
from gyropilot.store.roles import Role
from mean_problem import MEAN


def create(house, request, invocation_id=None):
    return automl_jobs.create(house, houses.admin(house), request, invocation_id=invocation_id, region=houses.REGION)


def describe(house, name):
    return automl_jobs.describe(house, houses.admin(house), houses.REGION, name)


def test_a_created_job_is_described_as_it_was_asked_for(house):
    request = houses.mean_request("First-Job", tags={"steps": "5"})
    arn = create(house, request)
    described = describe(house, "first-job")
    assert described["AutoMLJobArn"] == arn
    assert described["AutoMLJobName"] == "First-Job"
    assert described["AutoMLJobInputDataConfig"] == request["AutoMLJobInputDataConfig"]
    assert described["OutputDataConfig"] == {"S3OutputPath": "s3://data/out/"}
    assert described["AutoMLProblemTypeConfig"] == request["AutoMLProblemTypeConfig"]
    assert described["AutoMLProblemTypeConfigName"] == "Tabular"
    assert described["AutoMLJobStatus"] == "InProgress"
    assert described["AutoMLJobSecondaryStatus"] == "Starting"
    assert described["ResolvedAttributes"] == {
        "CompletionCriteria": {"MaxCandidates": 1},
        "AutoMLJobObjective": {"MetricName": "MSE"},
    }
    assert "BestCandidate" not in described
    assert tags.all_of(house.db, arn) == {"steps": "5"}


def test_a_name_is_taken_in_any_letter_case(house):
    create(house, houses.mean_request("Name"))
    with pytest.raises(AlreadyExists, match="Name"):
        create(house, houses.mean_request("nAME"))


def test_a_retried_call_is_no_second_job(house):
    first = create(house, houses.mean_request(), invocation_id="call-1")
    assert create(house, houses.mean_request(), invocation_id="call-1") == first
    with pytest.raises(AlreadyExists):
        create(house, houses.mean_request(), invocation_id="call-2")


def test_all_faults_of_a_request_come_at_once(house):
    roles.add(
        house.db,
        Role(
            arn=role_arn("000000000000", "narrow"),
            read_prefixes=("s3://data/other",),
            write_prefixes=("s3://data/out",),
            passable_by=("*",),
        ),
    )
    request = houses.mean_request(
        tags={"fault": "request"},
        RoleArn=role_arn("000000000000", "narrow"),
        OutputDataConfig={"S3OutputPath": "s3://data/out2", "KmsKeyId": "key"},
        SecurityConfig={
            "EnableInterContainerTrafficEncryption": True,
            "VolumeKmsKeyId": "key",
            "VpcConfig": {"SecurityGroupIds": ["sg"], "Subnets": ["s"]},
        },
        AutoMLComputeConfig={"EmrServerlessComputeConfig": {"ExecutionRoleARN": houses.ROLE}},
    )
    with pytest.raises(InvalidRequest) as caught:
        create(house, request)
    assert {fault.where for fault in caught.value.faults} == {
        "OutputDataConfig.KmsKeyId",
        "SecurityConfig.VolumeKmsKeyId",
        "SecurityConfig.VpcConfig",
        "SecurityConfig.EnableInterContainerTrafficEncryption",
        "AutoMLComputeConfig",
        "AutoMLJobInputDataConfig[0].DataSource.S3DataSource.S3Uri",
        "OutputDataConfig.S3OutputPath",
        "Tags",
    }
    assert automl_jobs.list_jobs(house, houses.admin(house), houses.REGION, {})["AutoMLJobSummaries"] == []


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("s3://data/nothing/here", "no object lies under this prefix"),
        ("s3://absent/x", "there is no bucket 'absent'"),
        ("https://data.s3.amazonaws.com/x", "is not an s3 URI"),
        ("s3://data/a/../numbers/", "has a segment"),
    ],
)
def test_an_input_that_cannot_be_read_is_refused(house, uri, problem):
    channel = {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}}
    with pytest.raises(InvalidRequest, match=problem):
        create(house, houses.mean_request(AutoMLJobInputDataConfig=[channel]))


def test_an_unknown_role_is_refused(house):
    with pytest.raises(InvalidRequest, match="no such role"):
        create(house, houses.mean_request(RoleArn=role_arn("000000000000", "nobody")))


def test_a_problem_type_that_is_not_built_is_refused_by_name(house):
    config = {"TimeSeriesForecastingJobConfig": {}}
    with pytest.raises(InvalidRequest, match=r"TimeSeriesForecastingJobConfig.*not built"):
        create(house, houses.mean_request(AutoMLProblemTypeConfig=config))


def test_listing_pages_through_all_jobs_once(house):
    for number in range(5):
        create(house, houses.mean_request(f"job-{number}"))
    request, seen = {"MaxResults": 2, "SortBy": "Name", "SortOrder": "Ascending"}, []
    while True:
        answer = automl_jobs.list_jobs(house, houses.admin(house), houses.REGION, request)
        seen += [job["AutoMLJobName"] for job in answer["AutoMLJobSummaries"]]
        if "NextToken" not in answer:
            break
        request = request | {"NextToken": answer["NextToken"]}
    assert seen == [f"job-{number}" for number in range(5)]
    with pytest.raises(InvalidRequest, match="other filters"):
        automl_jobs.list_jobs(house, houses.admin(house), houses.REGION, request | {"SortBy": "Status"})
    with pytest.raises(InvalidRequest, match="no token"):
        automl_jobs.list_jobs(house, houses.admin(house), houses.REGION, {"NextToken": "bm9uZQ=="})


def test_a_queued_job_stops_at_once_and_a_missing_one_is_not_found(house):
    create(house, houses.mean_request())
    automl_jobs.stop(house, houses.admin(house), houses.REGION, "job")
    assert describe(house, "job")["AutoMLJobStatus"] == "Stopped"
    for call in (automl_jobs.stop, automl_jobs.describe, automl_jobs.job_progress):
        with pytest.raises(NotFound, match="'other'"):
            call(house, houses.admin(house), houses.REGION, "other")


def test_describe_echoes_what_was_sent_and_adds_no_defaults(house):
    """Of the facts, those of the V2 call: what V1 fills in (ContentType, ChannelType, SecurityConfig) stays out."""
    create(house, houses.mean_request("bare", OutputDataConfig={"S3OutputPath": "s3://data/out///"}))
    bare = describe(house, "bare")
    (channel,) = bare["AutoMLJobInputDataConfig"]
    assert channel.keys() == {"DataSource"}
    assert bare["OutputDataConfig"] == {"S3OutputPath": "s3://data/out///"}
    assert not {"SecurityConfig", "DataSplitConfig", "AutoMLJobObjective", "ModelDeployConfig"} & bare.keys()
    assert "CompletionCriteria" not in bare["AutoMLProblemTypeConfig"]["TabularJobConfig"]

    full = houses.mean_request(
        "full",
        criteria={"MaxCandidates": 1, "MaxAutoMLJobRuntimeInSeconds": 60},
        SecurityConfig={"EnableInterContainerTrafficEncryption": False},
        DataSplitConfig={"ValidationFraction": 0.25},
    )
    full["AutoMLJobInputDataConfig"][0] |= {
        "ChannelType": "training",
        "ContentType": "text/csv;header=present",
        "CompressionType": "None",
    }
    create(house, full)
    described = describe(house, "full")
    for name in set(full) - {"AutoMLJobName", "Tags"}:
        assert described[name] == full[name], name
    assert described["ResolvedAttributes"]["CompletionCriteria"] == {
        "MaxCandidates": 1,
        "MaxAutoMLJobRuntimeInSeconds": 60,
    }


def test_an_account_has_no_more_open_jobs_than_the_setting_says(tmp_path):
    house = houses.build(tmp_path / "small", (MEAN,), open_jobs_per_account=2)
    create(house, houses.mean_request("one"), invocation_id="call-1")
    create(house, houses.mean_request("two"))
    with pytest.raises(LimitExceeded, match=r"is 2 Jobs, with current utilization of 2 Jobs .* open_jobs_per_account"):
        create(house, houses.mean_request("three"))
    assert create(house, houses.mean_request("one"), invocation_id="call-1").endswith("/one")
    with pytest.raises(AlreadyExists):
        create(house, houses.mean_request("ONE"))
    automl_jobs.stop(house, houses.admin(house), houses.REGION, "two")
    create(house, houses.mean_request("three"))
    house.db.close()
