"""Jobs passed from worker to worker: handed back, or lost with their owner."""

import contextlib
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import houses
from gyropilot.errors import Unavailable
from gyropilot.store import events, jobs, leases, outputs, progress
from gyropilot.store.jobs import JobQuery
from gyropilot.worker import loop, publishing, watching
from mean_jobs import (
    TESTS,
    child_of,
    create,
    described,
    ended,
    events_of,
    kinds_of,
    log_of,
    new_worker,
    training_begun,
    wait_until,
)

ALL = JobQuery(account_id="000000000000", region=houses.REGION, sort_by="Name", sort_order="Ascending", limit=10)


def test_a_worker_that_goes_down_hands_the_job_to_the_next(house):
    first = new_worker(house)
    first.start()
    create(house, tags={"steps": "100", "step_seconds": "0.02"})
    wait_until(lambda: training_begun(house), "training")
    first.stop()
    assert described(house)["AutoMLJobStatus"] == "InProgress"
    second = new_worker(house)
    second.start()
    try:
        assert ended(house)["AutoMLJobStatus"] == "Completed"
    finally:
        second.stop()
    assert "resumed" in [event["Kind"] for event in events_of(house)]


def test_a_lost_lease_kills_the_child_and_writes_nothing(house, worker):
    create(house, tags={"steps": "1000", "step_seconds": "0.02"})
    wait_until(lambda: training_begun(house), "training")
    (pid_file,) = house.settings.scratch.glob("*/checkpoints/mean-0/pid")
    leases.release_all(house.db)
    lease, _ = leases.claim(house.db, "another worker", 60.0, 1)
    pid = int(pid_file.read_text())
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the end of the child")
    assert described(house)["AutoMLJobStatus"] == "InProgress"
    assert lease.epoch == 2
    jobs.update(house.db, lease, jobs.JobChanges(status="Failed", failure_reason="taken over"))


def test_a_child_is_given_time_to_save_and_the_next_goes_on_there(house):
    first = new_worker(house)
    first.start()
    create(house, tags={"steps": "100000", "step_seconds": "0.02"})
    wait_until(lambda: training_begun(house), "training")
    began = time.monotonic()
    first.stop()
    assert time.monotonic() - began < watching.HAND_BACK_SECONDS
    (saved,) = house.settings.scratch.glob("*/checkpoints/mean-0/handed_back")
    assert int(saved.read_text()) > 0
    (job,) = jobs.page(house.db, ALL).items
    lease, record = leases.claim(house.db, "next", 60.0, 1)
    assert (lease.job_id, record.lost_attempts) == (job.id, 0), "a hand-back is no loss"


def test_a_child_that_does_not_save_in_time_is_ended(house, monkeypatch):
    monkeypatch.setattr(watching, "HAND_BACK_SECONDS", 0.5)
    first = new_worker(house)
    first.start()
    create(house, tags={"steps": "3", "step_seconds": "60"})
    wait_until(lambda: list(house.settings.scratch.glob("*/checkpoints/mean-0/pid")), "training")
    pid = child_of(house)
    began = time.monotonic()
    first.stop()
    assert time.monotonic() - began < 10
    assert not Path(f"/proc/{pid}").exists()


def test_a_worker_that_goes_down_before_it_could_begin_a_job_loses_none(house, monkeypatch):
    asked = threading.Event()

    def away(*_):
        asked.set()
        raise Unavailable("away")

    worker = new_worker(house)
    worker.start()
    create(house)
    monkeypatch.setattr(progress, "get", away)
    try:
        assert asked.wait(10)
    finally:
        worker.stop()
    lease, record = leases.claim(house.db, "next", 60.0, 1)
    assert (lease.epoch, record.lost_attempts) == (2, 0)


def test_a_run_that_fails_after_its_lease_was_lost_leaves_the_successors_artifacts(house, worker, monkeypatch):
    taken_over = threading.Event()

    def overtaken(*_, **__):
        leases.release_all(house.db)
        assert leases.claim(house.db, "successor", 60.0, 1)
        house.objects.put_bytes("data", "out/job/model.json", b"the successor's", "application/json")
        taken_over.set()
        raise FileNotFoundError("the folder went to the successor")

    monkeypatch.setattr(publishing, "publish", overtaken)
    create(house)
    assert taken_over.wait(30)
    worker.stop()
    assert house.objects.read("data", "out/job/model.json") == b"the successor's"
    assert described(house)["AutoMLJobStatus"] == "InProgress"


def lose(house, times):
    """Have workers die that owned the job, as a killed service does."""
    for number in range(times):
        leases.release_all(house.db)
        assert leases.claim(house.db, f"dead-{number}", 60.0, 1) is not None
    leases.release_all(house.db)


def test_a_job_whose_workers_die_three_times_in_a_row_fails_and_leaves_nothing(house):
    create(house)
    lose(house, 2)
    leases.release_all(house.db)  # as at a start: nobody waits
    lease, _ = leases.claim(house.db, "dead too", 60.0, 1)
    jobs.update(house.db, lease, jobs.JobChanges(secondary_status="TrainingModels"))
    outputs.expect(house.db, lease, "train:mean-0", ["model.json"])
    house.objects.put_bytes("data", "out/job/model.json", b"half", "application/json")
    leases.release_all(house.db)
    worker = new_worker(house)
    worker.start()
    try:
        job = ended(house)
    finally:
        worker.stop()
    assert job["AutoMLJobStatus"] == "Failed"
    assert "died 3 times in a row" in job["FailureReason"]
    assert "phase TrainingModels" in job["FailureReason"]
    assert list(house.objects.list("data", "out/")) == []
    assert "lost" in kinds_of(house)
    assert "died 3 times in a row" in log_of(house)


def test_two_deaths_and_then_success_is_a_success_that_tells_of_them(house):
    create(house)
    lose(house, 2)
    worker = new_worker(house)
    worker.start()
    try:
        assert ended(house)["AutoMLJobStatus"] == "Completed"
    finally:
        worker.stop()
    assert kinds_of(house).count("lost") == 1
    (job,) = jobs.page(house.db, ALL).items
    assert jobs.get(house.db, job.id).lost_attempts == 0


def test_a_run_that_breaks_outside_its_own_handling_ends_the_job_all_the_same(house, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr(loop, "JobRun", broken)
    create(house)
    worker = new_worker(house)
    worker.start()
    try:
        job = ended(house)
    finally:
        worker.stop()
    assert job["AutoMLJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("InternalFailure")
    assert "mistake of ours" not in job["FailureReason"]


PROGRAM = """
import signal, sys, threading
sys.path[:0] = {path!r}
import houses, mean_jobs
from pathlib import Path
from mean_problem import MEAN
house = houses.build(Path({home!r}), (MEAN,), lease_seconds=1.0)
worker = mean_jobs.new_worker(house)
worker.start()
signal.signal(signal.SIGTERM, lambda *_: worker.stop())
print("works", flush=True)
signal.pause()
"""


@pytest.fixture
def zombie(tmp_path):
    """A worker in a process of its own, on the house in tmp_path."""
    program = PROGRAM.format(path=[str(TESTS)], home=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "works\n"
        yield process
        process.kill()


def stopped_between_writes(house, process):
    """Stop it; but not for good while it holds the lock of the file, which nobody else could then write to."""
    process.send_signal(signal.SIGSTOP)
    with contextlib.closing(sqlite3.connect(house.settings.home / "gyropilot.db", timeout=0.2)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            process.send_signal(signal.SIGCONT)
            return False
        connection.execute("ROLLBACK")
        return True


@pytest.mark.slow
def test_a_worker_that_was_stopped_and_goes_on_writes_nothing_more(house, zombie):
    create(house, tags={"steps": "200", "step_seconds": "0.05"})
    wait_until(lambda: training_begun(house), "training")
    child = child_of(house)
    wait_until(lambda: stopped_between_writes(house, zombie), "a moment between writes")
    wait_until(lambda: leases.claim(house.db, "successor", 60.0, 1), "the lease to run out")
    (job,) = jobs.page(house.db, ALL).items
    before = jobs.get(house.db, job.id), events.after(house.db, job.id, 0, 1000), progress.get(house.db, job.id)
    time.sleep(3.0)  # three leases
    zombie.send_signal(signal.SIGCONT)
    wait_until(lambda: not Path(f"/proc/{child}").exists(), "the end of the zombie's child")
    after = jobs.get(house.db, job.id), events.after(house.db, job.id, 0, 1000), progress.get(house.db, job.id)
    assert after == before
    assert list(house.objects.list("data", "out/")) == []
    assert before[0].lost_attempts == 1
