"""Lists of jobs page by page, filtered and sorted, as boto3's paginators and the AWS CLI ask for them."""

import json
from datetime import UTC, datetime, timedelta

import pytest

import services

NAMES = ("list-a", "List-B", "list-c", "list-d")


@pytest.fixture(scope="module")
def jobs(service):
    sagemaker = service.boto3("sagemaker")
    for name in NAMES:
        sagemaker.create_auto_ml_job_v2(**services.request(service, name))
        sagemaker.stop_auto_ml_job(AutoMLJobName=name)
    services.wait_until(
        lambda: (
            {sagemaker.describe_auto_ml_job_v2(AutoMLJobName=name)["AutoMLJobStatus"] for name in NAMES} == {"Stopped"}
        ),
        seconds=120,
        what="the jobs to be Stopped",
    )
    return sagemaker


def names(pages):
    return [one["AutoMLJobName"] for page in pages for one in page["AutoMLJobSummaries"]]


@pytest.mark.slow
def test_boto3_pages_through_filtered_and_sorted_lists(jobs):
    lister = jobs.get_paginator("list_auto_ml_jobs")
    for size in (1, 3, 100):
        config = {"PageSize": size}
        by_time = {"NameContains": "list-", "SortBy": "CreationTime", "PaginationConfig": config}
        assert names(lister.paginate(**by_time, SortOrder="Ascending")) == list(NAMES)
        stopped = lister.paginate(NameContains="ist-", StatusEquals="Stopped", PaginationConfig=config)
        assert sorted(names(stopped)) == sorted(NAMES)
    assert names(lister.paginate(NameContains="ist-", StatusEquals="Completed")) == []
    now = datetime.now(UTC)
    assert names(lister.paginate(NameContains="ist-", CreationTimeAfter=now + timedelta(hours=1))) == []
    assert len(names(lister.paginate(NameContains="ist-", LastModifiedTimeBefore=now + timedelta(hours=1)))) == len(
        NAMES
    )
    cut = lister.paginate(NameContains="ist-", PaginationConfig={"MaxItems": 2, "PageSize": 1}).build_full_result()
    rest = lister.paginate(
        NameContains="ist-", PaginationConfig={"StartingToken": cut["NextToken"]}
    ).build_full_result()
    assert len({one["AutoMLJobName"] for half in (cut, rest) for one in half["AutoMLJobSummaries"]}) == len(NAMES)
    candidates = jobs.get_paginator("list_candidates_for_auto_ml_job").paginate(AutoMLJobName="list-a")
    assert [page["Candidates"] for page in candidates] == [[]]


@pytest.mark.slow
def test_the_aws_cli_pages_filters_and_queries(service, jobs):
    given = ("--name-contains", "ist-", "--status-equals", "Stopped", "--sort-by", "CreationTime")
    ran = service.aws("sagemaker", "list-auto-ml-jobs", *given, "--page-size", "1", "--sort-order", "Ascending")
    assert names([json.loads(ran.stdout)]) == list(NAMES), ran.stderr
    few = json.loads(
        service.aws("sagemaker", "list-auto-ml-jobs", *given, "--max-items", "3", "--page-size", "2").stdout
    )
    token = ("--starting-token", few["NextToken"])
    rest = json.loads(service.aws("sagemaker", "list-auto-ml-jobs", *given, *token).stdout)
    assert sorted(names([few, rest])) == sorted(NAMES)
    query = ("--query", "AutoMLJobSummaries[].AutoMLJobName", "--output", "text")
    assert sorted(service.aws("sagemaker", "list-auto-ml-jobs", *given, *query).stdout.split()) == sorted(NAMES)
    identity = service.aws("sts", "get-caller-identity", "--query", "Account", "--output", "text")
    assert identity.stdout.strip() == "000000000000", identity.stderr
