"""Steps are found and listed by name, kind, time and status, each account's own."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

import gyropilot.store
import new_jobs
from gyropilot.store import candidates, jobs, leases, steps
from gyropilot.store.candidates import CandidateRecord
from gyropilot.store.database import Database
from gyropilot.store.jobs import JobChanges
from gyropilot.store.steps import StepQuery
from postgresql import plain_engine

START = datetime(2026, 5, 1, tzinfo=UTC)


def step(name, kind="training-job"):
    word = {"training-job": "TrainingJob", "processing-job": "ProcessingJob"}[kind]
    return {
        "CandidateStepType": f"AWS::SageMaker::{word}",
        "CandidateStepArn": f"arn:aws:sagemaker:r:000000000000:{kind}/{name.lower()}",
        "CandidateStepName": name,
    }


def candidate(job, name, *named, status="Completed", after=0):
    at = START + timedelta(seconds=after)
    return CandidateRecord(
        job_id=job.id, name=name, status=status, objective_status="Succeeded", score=1.0, direction="Minimize",
        body={"CandidateSteps": list(named)}, created_at=at, modified_at=at,
    )  # fmt: skip


def query(**changed):
    place = {"account_id": "000000000000", "region": "us-east-1", "kind": "training-job"}
    return StepQuery(**(place | {"sort_by": "Name", "sort_order": "Ascending", "limit": 10} | changed))


def names(db, **changed):
    return [one.name for one in steps.page(db, query(**changed)).items]


@pytest.fixture
def one(db):
    """A job with a claim on it."""
    jobs.create(db, new_jobs.new_job("one"), {})
    lease, job = leases.claim(db, "worker", 60, None)
    return lease, job


def test_a_step_is_found_with_its_candidate_and_job(db, one):
    lease, job = one
    candidates.put(db, lease, candidate(job, "c", step("One-c"), step("db-1", "processing-job")))
    candidates.put(db, lease, candidate(job, "d", step("one-d"), step("db-1", "processing-job")))
    found = steps.find(db, job.account_id, job.region, "training-job", "oNE-C")
    assert (found.name, found.candidate.name, found.job.name) == ("One-c", "c", "one")
    shared = steps.find(db, job.account_id, job.region, "processing-job", "db-1")
    assert shared.candidate.name == "c"
    assert names(db, kind="processing-job") == ["db-1"]
    assert steps.find(db, job.account_id, job.region, "processing-job", "one-c") is None
    assert steps.find(db, "111111111111", job.region, "training-job", "one-c") is None
    assert steps.find(db, job.account_id, "elsewhere", "training-job", "one-c") is None
    assert names(db, account_id="111111111111") == names(db, region="elsewhere") == []


def test_of_two_jobs_steps_of_one_name_the_earlier_is_told_once(db, one):
    lease, job = one
    jobs.create(db, new_jobs.new_job("two"), {})
    other_lease, other = leases.claim(db, "worker", 60, None)
    candidates.put(db, other_lease, candidate(other, "x", step("same"), after=5))
    candidates.put(db, lease, candidate(job, "x", step("SAME")))
    assert steps.find(db, job.account_id, job.region, "training-job", "same").job.name == "one"
    assert names(db) == ["SAME"]


def test_the_status_is_that_of_the_candidate_as_it_is(db, one):
    lease, job = one
    running = candidate(job, "c", step("one-c"), status="InProgress")
    candidates.put(db, lease, running)
    assert names(db, status="InProgress") == ["one-c"]
    jobs.request_stop(db, job.account_id, job.region, "one")
    assert steps.page(db, query(status="Stopping")).items[0].status == "Stopping"
    candidates.put(db, lease, replace(running, status="Failed", failure_reason="broken"))
    (told,) = steps.page(db, query()).items
    assert (told.status, told.failure_reason, told.job_id) == ("Failed", "broken", job.id)


def test_lists_are_filtered_sorted_and_paged(db, one):
    lease, job = one
    for number, status in enumerate(["Completed", "Failed", "Completed", "Failed"]):
        candidates.put(db, lease, candidate(job, f"c{number}", step(f"one-c{number}"), status=status, after=number))
    jobs.update(db, lease, JobChanges(status="Completed"))
    assert names(db, name_contains="C1") == ["one-c1"]
    assert names(db, name_prefix="one-c", sort_order="Descending", limit=2) == ["one-c3", "one-c2"]
    assert names(db, created_after=START, created_before=START + timedelta(seconds=3)) == ["one-c1", "one-c2"]
    assert names(db, modified_after=START + timedelta(seconds=2)) == ["one-c3"]
    assert names(db, modified_before=START + timedelta(seconds=1)) == ["one-c0"]
    assert names(db, status="Failed") == ["one-c1", "one-c3"]
    for sort_by in ("Name", "CreationTime", "Status"):
        for order in ("Ascending", "Descending"):
            whole = names(db, sort_by=sort_by, sort_order=order)
            paged, cursor = [], None
            while True:
                page = steps.page(db, query(sort_by=sort_by, sort_order=order, limit=3, after=cursor))
                paged += [one.name for one in page.items]
                cursor = page.next_cursor
                if cursor is None:
                    break
            assert paged == whole
            assert sorted(whole) == [f"one-c{number}" for number in range(4)]


def test_the_training_jobs_of_earlier_candidates_are_found_after_the_migration(empty_database_url):
    engine = plain_engine(empty_database_url)
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(gyropilot.store.__file__).parent / "migrations"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        tables = sa.MetaData()
        job = sa.Table("jobs", tables, autoload_with=connection)
        candidate = sa.Table("candidates", tables, autoload_with=connection)
        texts = ("problem", "principal", "secondary_status", "request", "state", "spec", "resolved", "artifacts")
        row = dict.fromkeys(texts, "{}") | dict.fromkeys(("attempts", "last_event", "epoch", "lost_attempts"), 0)
        row |= {"id": "j", "account_id": "000000000000", "region": "us-east-1", "name": "Old", "folded_name": "old"}
        row |= {"arn": "arn:o", "status": "Completed", "partial_failure_reasons": "[]", "created_at": 1}
        connection.execute(sa.insert(job).values(row | {"modified_at": 1}))
        row = {"job_id": "j", "name": "Old-candidate-1", "status": "Completed", "objective_status": "Succeeded"}
        row |= {"direction": "Minimize", "body": "{}", "created_at": 1, "modified_at": 1}
        connection.execute(sa.insert(candidate).values(row))
    engine.dispose()
    database = Database.open(empty_database_url)
    found = steps.find(database, "000000000000", "us-east-1", "training-job", "old-Candidate-1")
    assert (found.name, found.candidate.name, found.job.name) == ("Old-candidate-1", "Old-candidate-1", "Old")
    database.close()
