"""Transform jobs as clients create, describe, list, tag and stop them; none of them is run here."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError
from sqlalchemy import update

import houses
from gyropilot import names
from gyropilot.control import transform_jobs
from gyropilot.errors import InvalidRequest
from gyropilot.store import roles
from gyropilot.store.roles import Role
from gyropilot.store.tables import transform_jobs as table
from mean_problem import MEAN
from mean_transforms import add_model, put, record, request

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMES = ["alpha", "Beta", "gamma-1", "gamma-2", "delta"]


@pytest.fixture(scope="module")
def house(server):
    add_model(server.house)
    put(server.house, in__a_csv="1\n")
    return server.house


def refusal(call, **asked):
    with pytest.raises(ClientError) as refused:
        call(**asked)
    error = refused.value.response["Error"]
    return error["Code"], error["Message"]


def test_a_description_is_the_request_and_the_defaults_that_the_service_tells(house, sagemaker):
    given = request("described", payload=2, concurrent=3, seconds=9, retries=0, environment={"A": "b"})
    arn = sagemaker.create_transform_job(**given)["TransformJobArn"]
    assert arn == "arn:aws:sagemaker:us-east-1:000000000000:transform-job/described"
    found = sagemaker.describe_transform_job(TransformJobName="described")
    del found["ResponseMetadata"]
    created = found.pop("CreationTime")
    assert created.tzinfo is not None
    assert found == {
        "TransformJobName": "described",
        "TransformJobArn": arn,
        "TransformJobStatus": "InProgress",
        "ModelName": "mean",
        "MaxConcurrentTransforms": 3,
        "ModelClientConfig": {"InvocationsTimeoutInSeconds": 9, "InvocationsMaxRetries": 0},
        "MaxPayloadInMB": 2,
        "Environment": {"A": "b"},
        "TransformInput": given["TransformInput"] | {"CompressionType": "None", "SplitType": "None"},
        "TransformOutput": {"S3OutputPath": "s3://data/out", "AssembleWith": "None"},
        "TransformResources": given["TransformResources"],
        "DataProcessing": {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None"},
    }


def test_a_name_is_taken_once_and_a_repeated_call_gives_its_job(house, server):
    asked = request("Taken")
    first = server.client()
    arn = first.create_transform_job(**asked)["TransformJobArn"]
    for name in ("Taken", "tAKEN"):
        code, message = refusal(first.create_transform_job, **(asked | {"TransformJobName": name}))
        assert (code, message.split("(")[0]) == ("ResourceInUse", "A transform job named 'Taken' already exists ")
    again = server.client()

    def repeat(request, **_):
        request.headers["amz-sdk-invocation-id"] = "00000000-0000-0000-0000-000000000007"

    again.meta.events.register("before-send.sagemaker.CreateTransformJob", repeat)
    arns = {again.create_transform_job(**request("again"))["TransformJobArn"] for _ in range(2)}
    assert len(arns) == 1
    assert arn not in arns


def test_a_job_that_is_not_there(house, sagemaker):
    for call in (sagemaker.describe_transform_job, sagemaker.stop_transform_job):
        code, message = refusal(call, TransformJobName="none")
        assert (code, message.startswith("There is no transform job named 'none'")) == ("ResourceNotFound", True)


def test_a_job_that_never_began_is_stopped_at_once(house, sagemaker):
    sagemaker.create_transform_job(**request("halted"))
    sagemaker.stop_transform_job(TransformJobName="halted")
    found = sagemaker.describe_transform_job(TransformJobName="halted")
    assert found["TransformJobStatus"] == "Stopped"
    assert "TransformStartTime" not in found
    assert found["TransformEndTime"] >= found["CreationTime"]
    assert refusal(sagemaker.stop_transform_job, TransformJobName="halted")[0] == "ValidationException"


def test_what_is_wrong_with_places_model_and_fields_is_told_at_once(house, sagemaker):
    asked = request("wrong", model="none", strategy="MultiRecord", tags=[{"Key": "aws:x", "Value": ""}])
    code, message = refusal(sagemaker.create_transform_job, **asked)
    assert code == "ValidationException"
    assert message.split(" | ") == [
        "Tags: keys that begin with aws: are reserved (found 'aws:x'); choose another key",
        (
            "BatchStrategy: needs a SplitType: without one each object is one record (found 'MultiRecord'); set"
            " TransformInput.SplitType to Line, or leave BatchStrategy out"
        ),
        (
            'ModelName: Could not find model "arn:aws:sagemaker:us-east-1:000000000000:model/none"; `aws sagemaker'
            " list-models` shows what there is"
        ),
    ]


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"data": "nothing/"}, "TransformInput.DataSource.S3DataSource.S3Uri: no object lies under this prefix"),
        ({"data": "in/a.csv", "kind": "ManifestFile"}, "TransformInput.DataSource.S3DataSource.S3Uri: is no manifest"),
        ({"data": "in/../a"}, "TransformInput.DataSource.S3DataSource.S3Uri: has a segment . or .."),
        ({"out": "../x"}, "TransformOutput.S3OutputPath: has a segment . or .."),
    ],
)
def test_places_that_cannot_be_used_are_told(house, sagemaker, chosen, said):
    code, message = refusal(sagemaker.create_transform_job, **request("places", **chosen))
    assert (code, message.startswith(said)) == ("ValidationException", True), message


def test_a_content_type_that_no_model_of_the_problem_reads_is_refused(house):
    of_lines = replace(house, problems=(replace(MEAN, takes=("application/json", "application/jsonlines")),))
    chosen = {"invocation_id": None, "region": houses.REGION}
    with pytest.raises(InvalidRequest) as caught:
        transform_jobs.create(of_lines, houses.admin(house), request("unread", content_type="text/csv"), **chosen)
    assert str(caught.value) == (
        "TransformInput.ContentType: models of Tabular do not read it (found 'text/csv'); send application/json or "
        "application/jsonlines"
    )
    transform_jobs.create(of_lines, houses.admin(house), request("read", content_type="application/json"), **chosen)


def test_an_environment_is_refused_where_several_containers_might_be_meant(house, sagemaker):
    add_model(house, "chain", count=2)
    sagemaker.create_transform_job(**request("plain", model="chain"))
    code, message = refusal(sagemaker.create_transform_job, **request("chosen", model="chain", environment={"A": "b"}))
    assert code == "ValidationException"
    assert message.startswith("Environment: cannot be for one of the 2 containers of this model")


def test_places_are_held_against_the_role_of_the_model_and_who_may_pass_it(house, sagemaker):
    default = roles.find(house.db, names.role_arn(names.ACCOUNT_ID, names.DEFAULT_ROLE_NAME))

    def narrowed(**changed):
        roles.add(house.db, Role(**(vars(default) | changed)))

    try:
        narrowed(read_prefixes=("s3://data/models",), write_prefixes=("s3://data/elsewhere",))
        _, message = refusal(sagemaker.create_transform_job, **request("narrow"))
        assert "S3Uri: lies outside what the role may read: s3://data/models" in message
        assert "TransformOutput.S3OutputPath: lies outside what the role may write: s3://data/elsewhere" in message
        narrowed(passable_by=("GYROAAAAAAAAAAAAAAAA",))
        _, message = refusal(sagemaker.create_transform_job, **request("foreign"))
        assert message.startswith("ModelName: its ExecutionRoleArn: no such role, or it may not be passed")
    finally:
        roles.add(house.db, default)


def test_tags_of_a_job(house, sagemaker):
    sagemaker.create_transform_job(**request("tagged", tags=[{"Key": "team", "Value": "a"}]))
    arn = record(house, "tagged").arn
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "more", "Value": "b"}])
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["team"])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "more", "Value": "b"}]


@pytest.fixture(scope="module")
def listed_jobs(house, sagemaker):
    """Five jobs, created hours apart and two of them stopped, in the order they were created."""
    with house.db.write() as connection:
        connection.execute(table.delete())
    for number, name in enumerate(NAMES):
        sagemaker.create_transform_job(**request(name))
        if name in ("alpha", "gamma-2"):
            sagemaker.stop_transform_job(TransformJobName=name)
        moments = {"created_at": START + timedelta(hours=number), "modified_at": START + timedelta(hours=10 - number)}
        with house.db.write() as connection:
            connection.execute(update(table).where(table.c.name == name).values(moments))


def listed(sagemaker, **asked):
    pages = sagemaker.get_paginator("list_transform_jobs").paginate(**asked, PaginationConfig={"PageSize": 2})
    return [one["TransformJobName"] for page in pages for one in page["TransformJobSummaries"]]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, NAMES[::-1]),
        ({"SortOrder": "Ascending"}, NAMES),
        ({"SortBy": "Name"}, ["gamma-2", "gamma-1", "delta", "Beta", "alpha"]),
        ({"SortBy": "Name", "SortOrder": "Ascending"}, ["alpha", "Beta", "delta", "gamma-1", "gamma-2"]),
        ({"NameContains": "GAMMA"}, ["gamma-2", "gamma-1"]),
        ({"StatusEquals": "Stopped"}, ["gamma-2", "alpha"]),
        ({"StatusEquals": "Stopped", "NameContains": "amm"}, ["gamma-2"]),
        ({"StatusEquals": "Failed"}, []),
        ({"CreationTimeAfter": START + timedelta(hours=2)}, ["delta", "gamma-2"]),
        ({"CreationTimeBefore": START + timedelta(hours=2)}, ["Beta", "alpha"]),
        ({"LastModifiedTimeAfter": START + timedelta(hours=8)}, ["Beta", "alpha"]),
        ({"LastModifiedTimeBefore": START + timedelta(hours=8)}, ["delta", "gamma-2"]),
    ],
)
def test_jobs_are_listed_newest_first_by_any_filter_and_order(listed_jobs, sagemaker, asked, expected):
    assert listed(sagemaker, **asked) == expected


def test_statuses_sort_and_summaries_tell(listed_jobs, sagemaker):
    assert set(listed(sagemaker, SortBy="Status", SortOrder="Ascending")[3:]) == {"alpha", "gamma-2"}
    (summary,) = sagemaker.list_transform_jobs(NameContains="alpha")["TransformJobSummaries"]
    assert summary["TransformJobStatus"] == "Stopped"
    assert summary["TransformEndTime"]
    assert (summary["CreationTime"], summary["LastModifiedTime"]) == (START, START + timedelta(hours=10))
    token = sagemaker.list_transform_jobs(MaxResults=1)["NextToken"]
    code, message = refusal(sagemaker.list_transform_jobs, NextToken=token, StatusEquals="Failed")
    assert (code, "made for other filters" in message) == ("ValidationException", True)
