"""Time limits count the time worked; neither the calendar nor a service that was down moves them."""

from datetime import UTC, datetime, timedelta

import pytest

from gyropilot import clock
from gyropilot.store.tables import progress as progress_table
from gyropilot.worker.time_used import JOB, TimeUsed
from mean_jobs import create, described, ended, events_of, new_worker, progress_of, training_begun, wait_until

JUMPS = [timedelta(days=-1), timedelta(hours=-1), timedelta(hours=1), timedelta(days=1)]


def test_time_adds_up_over_attempts_and_only_while_it_counts(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    first = TimeUsed({})
    first.begin(JOB)
    now[0] += 5
    first.begin("candidate")
    first.begin("candidate")
    now[0] += 3
    assert first.to_json() == {"job": 8, "candidate": 3}
    now[0] += 1000  # nobody works
    second = TimeUsed(first.to_json() | {"job": 8})
    second.begin(JOB)
    now[0] += 1
    assert (second.seconds(JOB), second.seconds("candidate")) == (9, 1011 - 8)
    second.forget("candidate")
    assert second.seconds("candidate") == 0
    assert second.to_json() == {"job": 9}


@pytest.mark.parametrize("jump", JUMPS, ids=str)
def test_a_jump_of_the_clock_neither_ends_a_job_nor_runs_it_twice(house, worker, monkeypatch, jump):
    criteria = {"MaxRuntimePerTrainingJobInSeconds": 600, "MaxAutoMLJobRuntimeInSeconds": 1200}
    # Progress is written once a second: a shorter training might end unseen.
    create(house, tags={"steps": "150", "step_seconds": "0.02"}, criteria=criteria)
    wait_until(lambda: training_begun(house), "training")
    monkeypatch.setattr(clock, "now", lambda: datetime.now(tz=UTC) + jump)
    job = ended(house)
    assert (job["AutoMLJobStatus"], job["AutoMLJobSecondaryStatus"]) == ("Completed", "Completed")
    assert job["CreationTime"] <= job["EndTime"]
    assert job["CreationTime"] <= job["LastModifiedTime"]
    assert job["BestCandidate"]["CreationTime"] <= job["BestCandidate"]["EndTime"]
    assert "resumed" not in [event["Kind"] for event in events_of(house)]


def test_the_time_while_the_service_was_down_does_not_count(house, monkeypatch):
    limits = {"MaxRuntimePerTrainingJobInSeconds": 30, "MaxAutoMLJobRuntimeInSeconds": 60}
    first = new_worker(house)
    first.start()
    create(house, tags={"steps": "150", "step_seconds": "0.02"}, criteria=limits)
    wait_until(lambda: "used_seconds" in progress_of(house) and training_begun(house), "training")
    first.stop()
    used = progress_of(house)["used_seconds"]
    assert 0 < used["mean-0"] <= used["job"] < 30
    monkeypatch.setattr(clock, "now", lambda: datetime.now(tz=UTC) + timedelta(days=3))
    second = new_worker(house)
    second.start()
    try:
        assert ended(house)["AutoMLJobSecondaryStatus"] == "Completed"
    finally:
        second.stop()


def test_the_time_used_before_a_kill_does_count(house):
    limits = {"MaxRuntimePerTrainingJobInSeconds": 600, "MaxAutoMLJobRuntimeInSeconds": 3600}
    first = new_worker(house)
    first.start()
    create(house, tags={"steps": "100000", "step_seconds": "0.02"}, criteria=limits)
    wait_until(lambda: training_begun(house), "training")
    first.stop()
    with house.db.write() as connection:
        body = progress_of(house) | {"used_seconds": {"job": 3599.0, "mean-0": 10.0}}
        connection.execute(progress_table.update().values(body=body))
    second = new_worker(house)
    second.start()
    try:
        assert ended(house)["AutoMLJobSecondaryStatus"] == "MaxAutoMLJobRuntimeReached"
        assert described(house)["AutoMLJobStatus"] == "Completed"
    finally:
        second.stop()
