from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from gyropilot.errors import LeaseLost
from gyropilot.store import candidates, events, jobs, leases, progress
from gyropilot.store.database import Database
from new_jobs import ACCOUNT, REGION, in_threads, new_job

LONG = 600.0


def claim(db, max_running=10, ttl_seconds=LONG):
    return leases.claim(db, "worker", ttl_seconds, max_running)


def test_the_oldest_free_job_is_claimed_first(db):
    names = [jobs.create(db, new_job(name), {}).name for name in ("c", "a", "b")]
    assert [claim(db)[1].name for _ in names] == names
    assert claim(db) is None


def test_a_claim_counts(db):
    made = jobs.create(db, new_job(), {})
    lease, record = claim(db)
    assert (lease.job_id, lease.epoch, record.attempts) == (made.id, 1, 1)
    leases.release(db, lease)
    lease, record = claim(db)
    assert (lease.epoch, record.attempts) == (2, 2)


def test_a_lease_that_ran_out_is_claimed_anew_and_the_old_one_is_lost(db):
    jobs.create(db, new_job(), {})
    old, _ = claim(db, ttl_seconds=0)
    new, _ = claim(db)
    assert new.token != old.token
    assert new.epoch == old.epoch + 1
    with pytest.raises(LeaseLost):
        leases.renew(db, old, LONG)
    leases.renew(db, new, LONG)


def test_a_lease_that_ran_out_unclaimed_can_be_renewed(db):
    jobs.create(db, new_job(), {})
    lease, _ = claim(db, ttl_seconds=0)
    leases.renew(db, lease, LONG)
    assert claim(db) is None


def test_a_lost_lease_writes_nothing(db):
    made = jobs.create(db, new_job(), {})
    old, _ = claim(db, ttl_seconds=0)
    claim(db)
    record = candidates.CandidateRecord(
        job_id=made.id,
        name="one",
        status="Completed",
        objective_status="Succeeded",
        score=1.0,
        direction="Minimize",
        body={},
        created_at=made.created_at,
        modified_at=made.created_at,
    )
    before = jobs.get(db, made.id)
    for write in (
        lambda: jobs.update(db, old, jobs.JobChanges(status="Completed")),
        lambda: events.append(db, old, "kind", "message", {}),
        lambda: progress.put(db, old, {"done": 1}),
        lambda: candidates.put(db, old, record),
        lambda: leases.release(db, old),
    ):
        with pytest.raises(LeaseLost):
            write()
    assert jobs.get(db, made.id) == before
    assert [one.kind for one in events.after(db, made.id, 0, 10)] == ["created"]
    assert progress.get(db, made.id) is None
    assert candidates.find(db, made.id, "one") is None


def test_no_field_of_a_lease_can_be_guessed_alone(db):
    jobs.create(db, new_job(), {})
    lease, _ = claim(db)
    for wrong in ({"token": "0" * 32}, {"epoch": lease.epoch + 1}, {"job_id": "0" * 32}):
        with pytest.raises(LeaseLost):
            leases.renew(db, leases.Lease(**(vars(lease) | wrong)), LONG)


def test_a_released_job_is_free_and_its_lease_is_gone(db):
    jobs.create(db, new_job(), {})
    lease, _ = claim(db)
    leases.release(db, lease)
    with pytest.raises(LeaseLost):
        leases.release(db, lease)
    assert claim(db) is not None


def test_at_a_start_all_leases_are_freed(db):
    for name in "abc":
        jobs.create(db, new_job(name), {})
    held = [claim(db)[0], claim(db)[0]]
    assert claim(db, max_running=2) is None
    assert leases.release_all(db) == 2
    for lease in held:
        with pytest.raises(LeaseLost):
            leases.renew(db, lease, LONG)
    assert claim(db, max_running=1) is not None


def test_an_ended_job_is_not_claimed_and_runs_no_more(db):
    jobs.create(db, new_job("a"), {})
    jobs.create(db, new_job("b"), {})
    lease, _ = claim(db, max_running=1)
    assert claim(db, max_running=1) is None
    jobs.update(db, lease, jobs.JobChanges(status="Completed"))
    assert claim(db, max_running=1)[1].name == "b"
    leases.release(db, lease)
    assert claim(db) is None


def test_a_stopping_job_whose_worker_died_is_claimed_to_be_ended(db):
    jobs.create(db, new_job(), {})
    claim(db, ttl_seconds=0)
    jobs.request_stop(db, ACCOUNT, REGION, "job")
    assert claim(db)[1].status == "Stopping"


@pytest.mark.parametrize("claimers", [20])
def test_many_threads_never_run_more_than_allowed(db, claimers):
    """Each claims, counts who runs, and hands on, until all jobs are done."""
    for number in range(40):
        jobs.create(db, new_job(f"job-{number}"), {})
    running, most, done, guard = set(), [0], [], threading.Lock()

    def work(_):
        while True:
            claimed = claim(db, max_running=4)
            if claimed is None:
                with guard:
                    if len(done) == 40:
                        return
                continue
            lease, record = claimed
            with guard:
                assert record.id not in running
                running.add(record.id)
                most[0] = max(most[0], len(running))
            with guard:
                running.remove(record.id)
                done.append(record.id)
            jobs.update(db, lease, jobs.JobChanges(status="Completed"))

    assert in_threads(claimers, work) == [None] * claimers
    assert len(set(done)) == len(done) == 40
    assert 1 <= most[0] <= 4


def test_many_processes_never_hold_more_than_allowed(url):
    database = Database.open(url)
    for number in range(12):
        jobs.create(database, new_job(f"job-{number}"), {})
    program = f"""
import os
from gyropilot.store import leases
from gyropilot.store.database import Database
children = []
for _ in range(8):
    child = os.fork()
    if child == 0:
        database = Database.open({url!r})
        while (claimed := leases.claim(database, "worker", 600, 4)) is not None:
            os.write(1, claimed[1].name.encode() + b"\\n")
        os._exit(0)
    children.append(child)
raise SystemExit(any([os.waitpid(child, 0)[1] for child in children]))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 0, ended.stderr
    claimed = ended.stdout.split()
    assert len(claimed) == len(set(claimed)) == 4
    database.close()


def test_the_lease_clock_runs_forward_whatever_the_date(db, monkeypatch):
    jobs.create(db, new_job(), {})
    claim(db)
    from datetime import UTC, datetime

    from gyropilot import clock

    monkeypatch.setattr(clock, "now", lambda: datetime(2099, 1, 1, tzinfo=UTC))
    assert claim(db) is None


def lost_attempts(db, job):
    return jobs.get(db, job.id).lost_attempts


def test_a_lease_that_runs_out_under_another_owner_is_a_loss(db):
    made = jobs.create(db, new_job(), {})
    leases.claim(db, "a", 0, 10)
    _, record = leases.claim(db, "b", 0, 10)
    assert record.lost_attempts == 1
    leases.claim(db, "b", LONG, 10)  # its own, which it could not renew in time: it lives
    assert lost_attempts(db, made) == 1


def test_a_job_handed_back_is_no_loss(db):
    made = jobs.create(db, new_job(), {})
    for _ in range(5):
        leases.release(db, claim(db)[0])
    assert lost_attempts(db, made) == 0


def test_a_job_lost_again_waits_before_it_is_claimed(db):
    made = jobs.create(db, new_job(), {})
    jobs.create(db, new_job("other"), {})
    leases.claim(db, "a", LONG, 10)
    assert leases.release_all(db) == 1
    assert leases.claim(db, "b", LONG, 10)[1].id == made.id
    assert leases.release_all(db) == 1
    assert lost_attempts(db, made) == 2
    assert leases.claim(db, "c", LONG, 10)[1].name == "other"
    assert leases.claim(db, "c", LONG, 10) is None
    leases.release_all(db)
    assert leases.claim(db, "d", LONG, 10)[1].id == made.id, "at a start nobody waits on"


def test_a_job_handed_back_for_a_while_is_left_alone_for_that_while(db):
    jobs.create(db, new_job(), {})
    leases.release(db, claim(db)[0], not_for_seconds=LONG)
    assert claim(db) is None
    leases.release_all(db)
    lease, record = claim(db)
    assert record.lost_attempts == 0
    leases.release(db, lease, not_for_seconds=0.001)
    until = time.monotonic() + 10
    while claim(db) is None:
        assert time.monotonic() < until


def test_a_worker_that_gives_a_job_up_counts_as_lost_and_is_not_the_owner_any_more(db):
    made = jobs.create(db, new_job(), {})
    lease, _ = claim(db)
    leases.give_up(db, lease)
    assert lost_attempts(db, made) == 1
    with pytest.raises(LeaseLost):
        leases.give_up(db, lease)


def test_getting_further_counts_losses_from_nothing_again(db):
    made = jobs.create(db, new_job(), {})
    claim(db, ttl_seconds=0)
    lease, record = leases.claim(db, "another", LONG, 10)
    assert record.lost_attempts == 1
    assert jobs.update(db, lease, jobs.JobChanges(lost_attempts=0)).lost_attempts == 0
    assert lost_attempts(db, made) == 0
