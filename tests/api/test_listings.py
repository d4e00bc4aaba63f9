"""Listings by an unmodified client: every filter and order, and pages that hold still while jobs come."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError
from sqlalchemy import update

import houses
from gyropilot import clock
from gyropilot.store import candidates, leases
from gyropilot.store.candidates import CandidateRecord
from gyropilot.store.tables import jobs as table

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMES = ["alpha", "Beta", "gamma-1", "gamma-2", "delta"]


@pytest.fixture(scope="module")
def jobs(server, sagemaker):
    """Five jobs, created hours apart and two of them stopped, in the order they were created."""
    for number, name in enumerate(NAMES):
        sagemaker.create_auto_ml_job_v2(**houses.mean_request(name))
        if name in ("alpha", "gamma-2"):
            sagemaker.stop_auto_ml_job(AutoMLJobName=name)
        # Clients tell moments in whole seconds.
        moments = {"created_at": START + timedelta(hours=number), "modified_at": START + timedelta(hours=10 - number)}
        with server.house.db.write() as connection:
            connection.execute(update(table).where(table.c.name == name).values(moments))


def listed(sagemaker, **request):
    pages = sagemaker.get_paginator("list_auto_ml_jobs").paginate(**request, PaginationConfig={"PageSize": 2})
    return [one["AutoMLJobName"] for page in pages for one in page["AutoMLJobSummaries"]]


@pytest.mark.parametrize(
    ("sort_by", "ascending"),
    [
        ("Name", ["alpha", "Beta", "delta", "gamma-1", "gamma-2"]),
        ("CreationTime", NAMES),
        ("Status", {"InProgress": {"Beta", "gamma-1", "delta"}, "Stopped": {"alpha", "gamma-2"}}),
    ],
)
def test_jobs_are_sorted_either_way(sagemaker, jobs, sort_by, ascending):
    up = listed(sagemaker, SortBy=sort_by, SortOrder="Ascending")
    assert listed(sagemaker, SortBy=sort_by, SortOrder="Descending") == up[::-1]
    if sort_by == "Status":
        assert [set(up[:3]), set(up[3:])] == list(ascending.values())
    else:
        assert up == ascending


def test_jobs_are_listed_by_name_from_the_last_unless_asked_otherwise(sagemaker, jobs):
    assert listed(sagemaker) == ["gamma-2", "gamma-1", "delta", "Beta", "alpha"]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"CreationTimeAfter": START + timedelta(hours=2)}, ["gamma-2", "delta"]),
        ({"CreationTimeBefore": START + timedelta(hours=2)}, ["alpha", "Beta"]),
        ({"LastModifiedTimeAfter": START + timedelta(hours=8)}, ["alpha", "Beta"]),
        ({"LastModifiedTimeBefore": START + timedelta(hours=8)}, ["gamma-2", "delta"]),
        ({"CreationTimeAfter": START, "LastModifiedTimeAfter": START + timedelta(hours=7)}, ["Beta", "gamma-1"]),
        ({"CreationTimeAfter": START + timedelta(days=1)}, []),
    ],
)
def test_jobs_are_filtered_by_time(sagemaker, jobs, request_, expected):
    assert listed(sagemaker, SortBy="CreationTime", SortOrder="Ascending", **request_) == expected


def test_jobs_are_filtered_by_name_and_status_together(sagemaker, jobs):
    assert listed(sagemaker, NameContains="GAMMA") == ["gamma-2", "gamma-1"]
    assert listed(sagemaker, StatusEquals="Stopped") == ["gamma-2", "alpha"]
    assert listed(sagemaker, StatusEquals="Stopped", NameContains="amm") == ["gamma-2"]
    assert listed(sagemaker, StatusEquals="Failed") == []


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        ({"SortBy": "Size"}, "'sortBy' failed to satisfy constraint: Member must satisfy enum value set"),
        ({"SortOrder": "Up"}, "'sortOrder' failed"),
        ({"StatusEquals": "Done"}, "'statusEquals' failed"),
        ({"NameContains": "a_b"}, "'nameContains' failed"),
        (
            {"MaxResults": 101},
            "'maxResults' failed to satisfy constraint: Member must have value less than or equal to",
        ),
        ({"NextToken": "none of ours"}, "NextToken: is no token of this service"),
    ],
)
def test_what_a_listing_does_not_know_is_refused_by_name(sagemaker, request_, told):
    with pytest.raises(ClientError) as error:
        sagemaker.list_auto_ml_jobs(**request_)
    assert error.value.response["Error"]["Code"] == "ValidationException"
    assert told in error.value.response["Error"]["Message"]


def test_a_token_serves_one_listing(sagemaker, jobs):
    first = sagemaker.list_auto_ml_jobs(MaxResults=2)
    assert sagemaker.list_auto_ml_jobs(MaxResults=3, NextToken=first["NextToken"])["AutoMLJobSummaries"]
    for other in ({"SortBy": "Status"}, {"NameContains": "a"}, {"SortOrder": "Ascending"}):
        with pytest.raises(ClientError, match="NextToken: was made for other filters or another order"):
            sagemaker.list_auto_ml_jobs(MaxResults=2, NextToken=first["NextToken"], **other)


@pytest.mark.parametrize("sort_by", ["Name", "CreationTime", "Status"])
@pytest.mark.parametrize("order", ["Ascending", "Descending"])
def test_pages_miss_and_double_nothing_while_jobs_are_created(server, sagemaker, jobs, sort_by, order):
    prefix = f"new-{sort_by}-{order}"
    ended = threading.Event()

    def create():
        client = server.client()
        for number in range(12):
            if ended.is_set():
                return
            client.create_auto_ml_job_v2(**houses.mean_request(f"{prefix}-{number}"[-32:]))

    there = set(listed(sagemaker))
    creating = threading.Thread(target=create)
    creating.start()
    try:
        seen = listed(sagemaker, SortBy=sort_by, SortOrder=order)
    finally:
        ended.set()
        creating.join(20)
    assert len(seen) == len(set(seen))
    assert there <= set(seen)


@pytest.fixture(scope="module")
def tried(server, sagemaker, jobs):
    """A job with four candidates, one of them without a score."""
    lease, job = leases.claim(server.house.db, "worker", 600, 100)
    now = clock.now()
    rows = (
        ("one", "Completed", 3.0),
        ("two", "Failed", None),
        ("three", "Completed", -1.0),
        ("four", "InProgress", 2.0),
    )
    for number, (name, status, score) in enumerate(rows):
        at = now + timedelta(seconds=number)
        record = CandidateRecord(
            job_id=job.id, name=name, status=status, objective_status="Pending", score=score, direction="Minimize",
            body={"CandidateSteps": []}, created_at=at, modified_at=at,
        )  # fmt: skip
        candidates.put(server.house.db, lease, record)
    return job.name


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({}, ["one", "two", "three", "four"]),
        ({"SortBy": "CreationTime", "SortOrder": "Descending"}, ["four", "three", "two", "one"]),
        ({"SortBy": "FinalObjectiveMetricValue"}, ["three", "four", "one", "two"]),
        ({"SortBy": "FinalObjectiveMetricValue", "SortOrder": "Descending"}, ["one", "four", "three", "two"]),
        ({"SortBy": "Status"}, ["one", "three", "two", "four"]),
        ({"StatusEquals": "Completed"}, ["one", "three"]),
        ({"CandidateNameEquals": "two"}, ["two"]),
        ({"CandidateNameEquals": "Two"}, []),
        ({"CandidateNameEquals": "two", "StatusEquals": "Completed"}, []),
    ],
)
def test_candidates_are_filtered_and_sorted(sagemaker, tried, request_, expected):
    pages = sagemaker.get_paginator("list_candidates_for_auto_ml_job").paginate(
        AutoMLJobName=tried.upper(), **request_, PaginationConfig={"PageSize": 1}
    )
    assert [one["CandidateName"] for page in pages for one in page["Candidates"]] == expected
