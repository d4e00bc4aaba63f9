from __future__ import annotations

import pytest

from gyropilot.store import events, jobs, leases, progress
from new_jobs import ACCOUNT, REGION, in_threads, new_job


@pytest.fixture
def lease(db):
    jobs.create(db, new_job(), {})
    return leases.claim(db, "worker", 600, 10)[0]


def test_events_are_numbered_without_gaps_from_one(db, lease):
    numbers = [events.append(db, lease, "finding", f"number {n}", {"n": n}).sequence for n in range(2, 6)]
    assert numbers == [2, 3, 4, 5]
    found = events.after(db, lease.job_id, 0, 100)
    assert [one.sequence for one in found] == [1, 2, 3, 4, 5]
    assert found[-1].detail == {"n": 5}
    assert found[-1].at >= found[0].at


def test_numbers_have_no_gaps_under_many_writers(db, lease):
    def write(number):
        if number == 7:
            jobs.request_stop(db, ACCOUNT, REGION, "job")
        for turn in range(5):
            events.append(db, lease, "turn", f"{number}-{turn}", {})

    assert in_threads(16, write) == [None] * 16
    found = events.after(db, lease.job_id, 0, 1000)
    assert [one.sequence for one in found] == list(range(1, len(found) + 1))
    assert len(found) == 1 + 16 * 5 + 1


def test_a_failed_append_leaves_no_gap(db, lease):
    with pytest.raises(Exception, match="JSON"):
        events.append(db, lease, "finding", "bad", {"loss": float("nan")})
    assert events.append(db, lease, "finding", "good", {}).sequence == 2


def test_reading_goes_on_where_it_ended(db, lease):
    for number in range(10):
        events.append(db, lease, "finding", str(number), {})
    first = events.after(db, lease.job_id, 0, 4)
    rest = events.after(db, lease.job_id, first[-1].sequence, 100)
    assert [one.sequence for one in first + rest] == list(range(1, 12))
    assert events.after(db, lease.job_id, 11, 100) == []


@pytest.mark.parametrize("sequence", [2**31 - 1, 2**31, 2**63 - 1])
def test_no_event_follows_a_number_beyond_all(db, lease, sequence):
    assert events.after(db, lease.job_id, sequence, 10) == []


def test_the_latest_of_a_kind(db, lease):
    for number in range(3):
        events.append(db, lease, "checkpoint", str(number), {})
    events.append(db, lease, "finding", "other", {})
    assert events.latest(db, lease.job_id, "checkpoint").message == "2"
    assert events.latest(db, lease.job_id, "none") is None


def test_jobs_count_for_themselves(db, lease):
    other = jobs.create(db, new_job("other"), {})
    events.append(db, lease, "finding", "mine", {})
    assert [one.sequence for one in events.after(db, other.id, 0, 10)] == [1]


def test_progress_is_overwritten_and_is_no_event(db, lease):
    assert progress.get(db, lease.job_id) is None
    progress.put(db, lease, {"phase": "training", "done": 1})
    progress.put(db, lease, {"phase": "training", "done": 2})
    assert progress.get(db, lease.job_id) == {"phase": "training", "done": 2}
    assert len(events.after(db, lease.job_id, 0, 10)) == 1
