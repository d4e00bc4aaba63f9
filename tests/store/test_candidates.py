from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gyropilot.store import candidates, jobs, leases
from new_jobs import new_job

START = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def lease(db):
    jobs.create(db, new_job(), {})
    return leases.claim(db, "worker", 600, 10)[0]


def record(lease, name="one", **chosen):
    values = {
        "job_id": lease.job_id,
        "name": name,
        "status": "InProgress",
        "objective_status": "Pending",
        "score": None,
        "direction": "Minimize",
        "body": {"CandidateName": name},
        "created_at": START,
        "modified_at": START,
    }
    return candidates.CandidateRecord(**(values | chosen))


def everything(db, lease, **chosen):
    values = {"job_id": lease.job_id, "sort_by": "CreationTime", "sort_order": "Ascending", "limit": 2}
    names, after = [], None
    while True:
        page = candidates.page(db, candidates.CandidateQuery(**(values | chosen), after=after))
        names += [one.name for one in page.items]
        after = page.next_cursor
        if after is None:
            return names


def test_a_candidate_is_read_back_and_replaced(db, lease):
    first = record(lease)
    candidates.put(db, lease, first)
    assert candidates.find(db, lease.job_id, "one") == first
    second = record(lease, status="Completed", score=0.25, ended_at=START, failure_reason="none", body={"a": 1})
    candidates.put(db, lease, second)
    assert candidates.find(db, lease.job_id, "one") == second
    assert candidates.find(db, lease.job_id, "two") is None
    assert everything(db, lease) == ["one"]


def test_pages_in_every_order(db, lease):
    scores = [0.5, None, -1.0, 2.0, 0.5, None, 1e-300]
    statuses = ["Completed", "Failed", "Completed", "InProgress", "Stopped", "Failed", "Completed"]
    for number, (score, status) in enumerate(zip(scores, statuses, strict=True)):
        created = START + timedelta(microseconds=number)
        candidates.put(db, lease, record(lease, f"c{number}", score=score, status=status, created_at=created))
    ordered = [f"c{number}" for number in range(7)]
    assert everything(db, lease) == ordered
    assert everything(db, lease, sort_order="Descending") == ordered[::-1]
    assert everything(db, lease, sort_by="Status") == ["c0", "c2", "c6", "c1", "c5", "c3", "c4"]
    rising = everything(db, lease, sort_by="FinalObjectiveMetricValue")
    assert rising == ["c2", "c6", "c0", "c4", "c3", "c1", "c5"]
    falling = everything(db, lease, sort_by="FinalObjectiveMetricValue", sort_order="Descending")
    assert falling == ["c3", "c4", "c0", "c6", "c2", "c5", "c1"]
    assert everything(db, lease, status="Failed") == ["c1", "c5"]
    assert everything(db, lease, name="c3") == ["c3"]


@pytest.mark.parametrize(("direction", "order"), [("Minimize", "Ascending"), ("Maximize", "Descending")])
def test_of_equal_scores_the_quickest_is_listed_first_as_it_is_the_best(db, lease, direction, order):
    for number, seconds in enumerate((None, 0.2, 0.1, None)):
        metrics = [] if seconds is None else [{"StandardMetricName": "InferenceLatency", "Value": seconds}]
        body = {"CandidateProperties": {"CandidateMetrics": metrics}}
        created = START + timedelta(seconds=number)
        one = record(lease, f"c{number}", score=1.0, direction=direction, body=body, created_at=created)
        candidates.put(db, lease, one)
    best_first = everything(db, lease, sort_by="FinalObjectiveMetricValue", sort_order=order)
    assert best_first == ["c2", "c1", "c0", "c3"]
    other = "Descending" if order == "Ascending" else "Ascending"
    assert everything(db, lease, sort_by="FinalObjectiveMetricValue", sort_order=other) == best_first[::-1]


def test_a_score_that_is_no_number_is_refused(db, lease):
    for score in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="finite"):
            candidates.put(db, lease, record(lease, score=score))


def test_a_lease_writes_candidates_of_its_own_job_only(db, lease):
    other = jobs.create(db, new_job("other"), {})
    with pytest.raises(ValueError, match="another job"):
        candidates.put(db, lease, record(lease, job_id=other.id))
