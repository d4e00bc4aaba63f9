"""What the house needs of a store, on each database: one suite for SQLite and PostgreSQL.

tests/store looks at each file of the store closely; this looks at jobs over their life, and at many at once.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

import gyropilot.store
from gyropilot import clock
from gyropilot.errors import AlreadyExists, LeaseLost
from gyropilot.store import candidates, events, jobs, leases, progress, roles, tables, tags
from gyropilot.store.candidates import CandidateQuery, CandidateRecord
from gyropilot.store.database import Database
from gyropilot.store.jobs import JobChanges, JobQuery
from gyropilot.store.principals import Credentials
from gyropilot.store.seals import Seal
from new_jobs import ACCOUNT, REGION, in_threads, new_job
from postgresql import plain_engine

LONG = 600.0


@pytest.fixture
def db(database_url):
    database = Database.open(database_url)
    yield database
    database.close()


def find(db, name="job"):
    return jobs.find(db, ACCOUNT, REGION, name)


def names_by_page(db, **query):
    cursor, found = None, []
    while True:
        asked = JobQuery(account_id=ACCOUNT, region=REGION, after=cursor, **query)
        page = jobs.page(db, asked)
        found += [one.name for one in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return found


def candidate(job_id, name, score):
    now = clock.now()
    return CandidateRecord(
        job_id=job_id,
        name=name,
        status="Completed",
        objective_status="Succeeded",
        score=score,
        direction="Minimize",
        body={"CandidateName": name},
        created_at=now,
        modified_at=now,
    )


def test_a_job_from_create_to_its_end(db):
    made = jobs.create(db, new_job("My-Job", request={"Ünï\0": ["\ud800", 1.5, None]}), {"team": "a"})
    assert find(db, "mY-jOB") == made
    lease, claimed = leases.claim(db, "one", LONG, 1)
    assert (claimed.id, claimed.attempts, lease.epoch) == (made.id, 1, 1)
    jobs.update(db, lease, JobChanges(secondary_status="TrainingModels", state={"k": [1]}))
    progress.put(db, lease, {"done": 1})
    progress.put(db, lease, {"done": 2})
    for number, score in enumerate((0.5, 0.25, 1e-300)):
        candidates.put(db, lease, candidate(made.id, f"c{number}", score))
    events.append(db, lease, "finding", "said", {"count": 3})
    jobs.update(db, lease, JobChanges(status="Completed", best_candidate="c2", artifacts={"a": "s3://b/c"}))
    with pytest.raises(ValueError, match="Completed"):
        jobs.update(db, lease, JobChanges(status="Failed"))
    leases.release(db, lease)
    ended = find(db, "my-job")
    assert (ended.status, ended.best_candidate, ended.state) == ("Completed", "c2", {"k": [1]})
    assert ended.request == {"Ünï\0": ["\ud800", 1.5, None]}
    assert progress.get(db, made.id) == {"done": 2}
    by_score = CandidateQuery(job_id=made.id, sort_by="FinalObjectiveMetricValue", sort_order="Ascending", limit=10)
    assert [one.name for one in candidates.page(db, by_score).items] == ["c2", "c1", "c0"]
    told = events.after(db, made.id, 0, 100)
    assert [one.sequence for one in told] == list(range(1, len(told) + 1))
    assert [one.kind for one in told] == ["created", "status", "finding", "status"]
    assert tags.all_of(db, made.arn) == {"team": "a"}
    assert leases.claim(db, "two", LONG, None) is None


def test_pages_cover_every_job_once_in_each_order(db):
    made = [jobs.create(db, new_job(name), {}).name for name in ("b", "A", "é", "C-1", "c-0", "Z", "a-b", "_")]
    for sort_by in ("Name", "CreationTime", "Status"):
        for order in ("Ascending", "Descending"):
            found = names_by_page(db, sort_by=sort_by, sort_order=order, limit=3)
            assert sorted(found) == sorted(made)
    by_name = names_by_page(db, sort_by="Name", sort_order="Ascending", limit=2)
    assert by_name == sorted(made, key=lambda name: name.lower().encode())
    assert names_by_page(db, sort_by="CreationTime", sort_order="Ascending", limit=2) == made
    assert names_by_page(db, sort_by="Name", sort_order="Ascending", limit=9, name_contains="C-") == ["c-0", "C-1"]
    assert names_by_page(db, sort_by="Name", sort_order="Ascending", limit=9, name_contains="%") == []


def test_a_name_is_taken_once_whatever_its_case_and_a_retried_call_finds_its_job(db):
    outcomes = in_threads(
        16, lambda number: jobs.create(db, new_job("Job" if number % 2 else "jOB", invocation_id=f"{number}"), {})
    )
    (winner,) = [one for one in outcomes if not isinstance(one, Exception)]
    assert [type(one) for one in outcomes].count(AlreadyExists) == 15
    again = jobs.create(db, new_job(winner.name, invocation_id=winner.invocation_id), {})
    assert again.id == winner.id
    for other in ({"invocation_id": None}, {"principal": "GYROBBBB"}, {"request": {"AutoMLJobName": "JOB"}}):
        with pytest.raises(AlreadyExists):
            jobs.create(db, new_job(winner.name, **({"invocation_id": winner.invocation_id} | other)), {})
    assert jobs.create(db, new_job("job", account_id="111122223333"), {}).id != winner.id


def test_a_zombie_writes_nothing_and_its_successor_everything(db):
    made = jobs.create(db, new_job(), {})
    old, _ = leases.claim(db, "old", 0.0, None)
    new, record = leases.claim(db, "new", LONG, None)
    assert (record.id, new.epoch) == (made.id, old.epoch + 1)
    before, told = find(db), events.after(db, made.id, 0, 99)
    for write in (
        lambda: jobs.update(db, old, JobChanges(status="Completed")),
        lambda: jobs.update(db, old, JobChanges(state={"a": 1})),
        lambda: events.append(db, old, "kind", "late"),
        lambda: progress.put(db, old, {"done": 1}),
        lambda: candidates.put(db, old, candidate(made.id, "late", 1.0)),
        lambda: leases.renew(db, old, LONG),
        lambda: leases.release(db, old),
    ):
        with pytest.raises(LeaseLost):
            write()
    assert (find(db), events.after(db, made.id, 0, 99)) == (before, told)
    assert (progress.get(db, made.id), candidates.find(db, made.id, "late")) == (None, None)
    jobs.update(db, new, JobChanges(status="Completed"))
    assert find(db).status == "Completed"


def test_a_stop_reaches_whoever_owns_the_job(db):
    jobs.create(db, new_job("waits"), {})
    assert jobs.request_stop(db, ACCOUNT, REGION, "WAITS").status == "Stopped"
    assert leases.claim(db, "one", LONG, None) is None
    jobs.create(db, new_job("runs"), {})
    lease, _ = leases.claim(db, "one", LONG, None)
    assert jobs.request_stop(db, ACCOUNT, REGION, "runs").status == "Stopping"
    jobs.update(db, lease, JobChanges(secondary_status="TrainingModels"))
    assert (find(db, "runs").status, find(db, "runs").secondary_status) == ("Stopping", "Stopping")
    jobs.update(db, lease, JobChanges(status="Stopped"))
    assert jobs.request_stop(db, ACCOUNT, REGION, "runs").status == "Stopped"
    assert jobs.request_stop(db, ACCOUNT, REGION, "nobody") is None


def test_events_of_many_writers_have_no_gap_and_no_double(db):
    made = jobs.create(db, new_job(), {})
    lease, _ = leases.claim(db, "one", LONG, None)

    def write(number):
        for turn in range(8):
            events.append(db, lease, "kind", f"{number}-{turn}", {})

    assert in_threads(8, write) == [None] * 8
    told = events.after(db, made.id, 0, 1000)
    assert [one.sequence for one in told] == list(range(1, 66))
    assert len({one.message for one in told[1:]}) == 64


def test_roles_and_keys_last(db, tmp_path):
    role = roles.Role(
        arn=f"arn:aws:iam::{ACCOUNT}:role/narrow",
        read_prefixes=("s3://a/b",),
        write_prefixes=("s3://a/c",),
        passable_by=("*",),
    )
    outcomes = in_threads(8, lambda _: roles.add_new(db, role))
    assert outcomes.count(True) == 1
    assert roles.find(db, role.arn) == role
    assert in_threads(8, lambda _: roles.ensure_default(db, f"arn:aws:iam::{ACCOUNT}:role/all").arn)
    assert len(roles.all_of(db)) == 2
    seal = Seal.open(tmp_path / "seal.key")
    here, there = (Credentials.open(tmp_path / "credentials.json", ACCOUNT, db=db, seal=seal) for _ in range(2))
    principal, secret = here.create(account_id=ACCOUNT, kind="operator", name="robot")
    assert there.find(principal.access_key_id) == (principal, secret)
    assert roles.remove(db, role.arn)
    assert not roles.remove(db, role.arn)


def test_a_database_of_the_first_release_is_brought_up_with_its_rows(empty_database_url):
    engine = plain_engine(empty_database_url)
    config = Config()
    config.set_main_option("script_location", str(Path(gyropilot.store.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    moments = {"created_at": 1, "modified_at": 2, "started_at": 3}
    texts = {name: json.dumps({}) for name in ("request", "spec", "resolved", "artifacts", "state")}
    row = {"id": "a" * 32, "account_id": ACCOUNT, "region": REGION, "name": "Old", "folded_name": "old", "arn": "arn:o"}
    row |= {"problem": "TextGeneration", "principal": "GYRO", "status": "InProgress", "secondary_status": "Starting"}
    row |= {"partial_failure_reasons": "[]", "attempts": 1, "last_event": 1, "epoch": 1, **texts, **moments}
    event = {"job_id": "a" * 32, "sequence": 1, "at": 1, "kind": "created", "message": "Job created", "detail": "{}"}
    role = {"arn": f"arn:aws:iam::{ACCOUNT}:role/old", "read_prefixes": '["s3://*"]', "write_prefixes": "[]"}
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        written = {"jobs": row, "events": event, "roles": role | {"passable_by": '["*"]'}}
        for name, values in written.items():
            table = sa.Table(name, sa.MetaData(), autoload_with=connection)
            connection.execute(sa.insert(table).values(values))
    engine.dispose()
    database = Database.open(empty_database_url)
    with database.read() as connection:
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() == tables.HEAD
    assert jobs.find(database, ACCOUNT, REGION, "old").lost_attempts == 0
    assert roles.all_of(database)[0].read_prefixes == ("s3://*",)
    lease, record = leases.claim(database, "one", LONG, 1)
    assert (record.name, record.attempts) == ("Old", 2)
    assert events.append(database, lease, "kind", "goes on").sequence == 2
    database.close()
