from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

import gyropilot.store
from gyropilot.errors import LeaseLost
from gyropilot.store import jobs, leases, model_data
from gyropilot.store.database import Database
from gyropilot.store.model_data import ModelDataRecord
from new_jobs import ACCOUNT, REGION, new_job
from postgresql import plain_engine

LONG = 600.0


def recorded(job_id, name="a", **chosen):
    values = {"account_id": ACCOUNT, "uri": f"s3://data/out/{name}", "sha256": "ab" * 32, "size_bytes": 2**40}
    values |= {"image": "gyropilot/mean:1", "problem": "Tabular", "shares": "", "job_id": job_id, "candidate": "c"}
    return ModelDataRecord(**(values | chosen))


def claimed(db, name="job"):
    jobs.create(db, new_job(name), {})
    return leases.claim(db, "one", LONG, None)[0]


def test_model_data_is_found_by_place_and_by_size(db):
    lease = claimed(db)
    one, two = recorded(lease.job_id), recorded(lease.job_id, "b", shares="base")
    model_data.put(db, lease, [one, two])
    assert model_data.find(db, ACCOUNT, one.uri) == one
    assert model_data.find(db, ACCOUNT, two.uri) == two
    assert model_data.find(db, ACCOUNT, "s3://data/out/A") is None
    assert model_data.find(db, "111111111111", one.uri) is None
    assert sorted(record.uri for record in model_data.of_size(db, ACCOUNT, 2**40)) == [one.uri, two.uri]
    assert model_data.of_size(db, "111111111111", 2**40) == model_data.of_size(db, ACCOUNT, 1) == []


def test_what_is_published_again_is_recorded_once(db):
    lease = claimed(db)
    model_data.put(db, lease, [recorded(lease.job_id)])
    again = recorded(lease.job_id, sha256="cd" * 32, size_bytes=1)
    model_data.put(db, lease, [again, again])
    assert model_data.find(db, ACCOUNT, again.uri) == again
    assert model_data.of_size(db, ACCOUNT, 2**40) == []


def test_only_the_owner_of_the_job_records_and_withdraws(db):
    first, other = claimed(db, "job"), claimed(db, "other")
    model_data.put(db, first, [recorded(first.job_id)])
    model_data.put(db, other, [recorded(other.job_id, "other")])
    with pytest.raises(ValueError, match="another job"):
        model_data.put(db, first, [recorded(first.job_id, "b"), recorded(other.job_id)])
    leases.release(db, first)
    for late in (
        lambda: model_data.put(db, first, [recorded(first.job_id, "b")]),
        lambda: model_data.withdraw(db, first),
    ):
        with pytest.raises(LeaseLost):
            late()
    assert len(model_data.of_size(db, ACCOUNT, 2**40)) == 2
    model_data.withdraw(db, other)
    assert [one.job_id for one in model_data.of_size(db, ACCOUNT, 2**40)] == [first.job_id]


def test_what_jobs_published_before_there_were_records_is_recorded_from_their_notes(empty_database_url):
    engine = plain_engine(empty_database_url)
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(gyropilot.store.__file__).parent / "migrations"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        table = sa.Table("jobs", sa.MetaData(), autoload_with=connection)
        for number, status in enumerate(("Completed", "InProgress", "Failed", "Stopped")):
            connection.execute(sa.insert(table).values(_old_job(number, status)))
    engine.dispose()
    database = Database.open(empty_database_url)
    found = model_data.of_size(database, ACCOUNT, 7)
    assert [(one.uri, one.job_id, one.candidate) for one in found] == [
        ("s3://data/out/job-0/c1/model.tar.gz", "0" * 32, "c1"),
        ("s3://data/out/job-1/c1/model.tar.gz", "1" * 32, "c1"),
    ]
    kept = recorded("0" * 32, uri=found[0].uri, sha256="ab" * 32, size_bytes=7, candidate="c1")
    assert found[0] == kept
    database.close()


def _old_job(number, status):
    published = {
        "c1/model.tar.gz": {"sha256": "ab" * 32, "size_bytes": 7},
        "report.json": {"sha256": "", "size_bytes": 7},
    }
    containers = [{"image": "gyropilot/mean:1", "model_path": "c1/model.tar.gz", "environment": {}}]
    state = {} if status == "Stopped" else {"published": published, "results": {"c1": {"containers": containers}}}
    request = {"AutoMLJobName": f"job-{number}", "OutputDataConfig": {"S3OutputPath": "s3://data/out/"}}
    row = {"id": str(number) * 32, "account_id": ACCOUNT, "region": REGION, "name": f"job-{number}", "arn": "arn:o"}
    row |= {"folded_name": f"job-{number}", "problem": "Tabular", "principal": "GYRO", "secondary_status": status}
    row |= {"request": json.dumps(request), "state": json.dumps(state), "status": status, "spec": "{}"}
    row |= {
        "resolved": "{}",
        "artifacts": "{}",
        "partial_failure_reasons": "[]",
        "created_at": 1,
        "modified_at": number,
    }
    return row | {"attempts": 1, "last_event": 1, "epoch": 1, "lost_attempts": 0}
