"""What the parts of a job's work gave: a row each, guarded by the lease."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

import gyropilot.store
from gyropilot.errors import LeaseLost
from gyropilot.store import jobs, leases, outputs
from gyropilot.store.database import Database
from new_jobs import new_job
from postgresql import plain_engine

DIGEST = {"sha256": "ab" * 32, "size_bytes": 7}


@pytest.fixture
def lease(db):
    jobs.create(db, new_job(), {})
    return leases.claim(db, "worker", 600, 10)[0]


def test_what_is_to_be_put_is_known_before_it_is_and_its_digests_after(db, lease):
    outputs.expect(db, lease, "train:c1", ["b", "a"])
    begun = outputs.find(db, lease.job_id, "train:c1")
    assert (begun.names, begun.digests, begun.result) == (("a", "b"), {}, None)
    outputs.expect(db, lease, "train:c1", ["a", "c"])
    outputs.put(db, lease, "train:c1", digests={"a": DIGEST, "c": DIGEST}, result={"score": 0.5})
    outputs.put(db, lease, "profile", digests={"n": DIGEST}, result={"rows": 3})
    found = outputs.find(db, lease.job_id, "train:c1")
    assert (found.names, found.result) == (("a", "b", "c"), {"score": 0.5})
    assert outputs.names_of(db, lease.job_id) == {"train:c1": {"a", "b", "c"}, "profile": set()}
    assert outputs.digests_of(db, lease.job_id) == {"a": DIGEST, "c": DIGEST, "n": DIGEST}
    assert outputs.find(db, lease.job_id, "train:c2") is None
    outputs.forget(db, lease, "train:c1")
    assert outputs.find(db, lease.job_id, "train:c1") is None


def test_a_lost_lease_writes_nothing(db, lease):
    leases.release_all(db)
    for write in (
        lambda: outputs.expect(db, lease, "profile", ["a"]),
        lambda: outputs.put(db, lease, "profile", digests={}, result={}),
        lambda: outputs.forget(db, lease, "profile"),
    ):
        with pytest.raises(LeaseLost):
            write()
    assert outputs.names_of(db, lease.job_id) == {}


def test_what_jobs_in_work_noted_moves_with_the_migration(empty_database_url):
    state = {"inputs": [[{"key": "a"}]], "profile": {"rows": 3}, "results": {"c1": {"score": 1}}, "reached": {"c1": 0}}
    state |= {"put": ["m", "n"], "published": {"m": DIGEST}}
    engine = plain_engine(empty_database_url)
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(gyropilot.store.__file__).parent / "migrations"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
        table = sa.Table("jobs", sa.MetaData(), autoload_with=connection)
        for job_id, status in (("open", "InProgress"), ("over", "Completed")):
            texts = ("problem", "principal", "secondary_status", "request", "spec", "resolved", "artifacts", "region")
            row = dict.fromkeys(texts, "{}") | dict.fromkeys(("attempts", "last_event", "epoch", "lost_attempts"), 0)
            row |= {"id": job_id, "account_id": "000000000000", "name": job_id, "folded_name": job_id, "arn": "arn:o"}
            row |= {"status": status, "partial_failure_reasons": "[]", "created_at": 1, "modified_at": 1}
            connection.execute(sa.insert(table).values(row | {"state": json.dumps(state)}))
    engine.dispose()
    database = Database.open(empty_database_url)
    assert outputs.find(database, "open", "inputs").result == {"channels": [[{"key": "a"}]], "extra": []}
    assert outputs.find(database, "open", "profile").result == {"rows": 3}
    assert outputs.find(database, "open", outputs.of_candidate("c1")).result == {"score": 1}
    assert outputs.names_of(database, "open")["earlier"] == {"m", "n"}
    assert outputs.digests_of(database, "open") == {"m": DIGEST}
    assert outputs.names_of(database, "over") == {}
    with database.read() as connection:
        kept = dict(connection.execute(sa.text("SELECT id, state FROM jobs")).all())
    assert json.loads(kept["open"]) == {"reached": {"c1": 0}}
    assert json.loads(kept["over"]) == state
    database.close()
