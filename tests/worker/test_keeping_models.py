"""A job that cannot go on ends with the best of what it trained whole, and says why it has no more."""

from __future__ import annotations

import errno
import shutil
from dataclasses import replace

import pytest

from gyropilot.store import leases
from gyropilot.store.role_objects import RoleStores
from gyropilot.worker import job_run
from mean_jobs import candidates_of, create, described, ended, new_worker, stop, wait_until

CANDIDATES = {"candidates": "2", "steps": "10", "step_seconds": "0.1"}


def statuses_of(house):
    return {one["CandidateName"]: one["CandidateStatus"] for one in candidates_of(house)}


@pytest.fixture
def interrupted(house):
    """A job whose first candidate is trained, and whose worker went away amid the second."""
    create(house, tags=CANDIDATES, criteria={"MaxCandidates": 2})
    worker = new_worker(house)
    worker.start()
    try:
        wait_until(
            lambda: statuses_of(house) == {"mean-0": "Completed", "mean-1": "InProgress"}, "the second candidate"
        )
    finally:
        worker.stop()
    assert described(house)["AutoMLJobStatus"] == "InProgress"
    return house


def finished(house):
    worker = new_worker(house)
    worker.start()
    try:
        return ended(house)
    finally:
        worker.stop()


def lose_scratch(house):
    for folder in house.settings.scratch.iterdir():
        shutil.rmtree(folder)


def assert_kept(house, job):
    assert job["BestCandidate"]["CandidateName"] == "mean-0"
    (container,) = job["BestCandidate"]["InferenceContainers"]
    names = {f"s3://data/{info.key}" for info in house.objects.list("data", "out/")}
    assert {container["ModelDataUrl"], "s3://data/out/job/manifest.json"} <= names


def test_workers_that_die_again_and_again_cost_no_model_that_was_trained(interrupted):
    for number in range(3):
        leases.release_all(interrupted.db)
        leases.release_all(interrupted.db)  # as at a start: nobody waits
        assert leases.claim(interrupted.db, f"dead-{number}", 60.0, 1) is not None
    leases.release_all(interrupted.db)
    job = finished(interrupted)
    assert job["AutoMLJobStatus"] == "Completed"
    assert_kept(interrupted, job)
    assert any("died 3 times in a row" in one["PartialFailureMessage"] for one in job["PartialFailureReasons"])
    assert statuses_of(interrupted)["mean-1"] == "Failed"


def test_stop_keeps_the_model_though_the_working_folder_is_lost(interrupted):
    lose_scratch(interrupted)
    stop(interrupted)
    job = finished(interrupted)
    assert job["AutoMLJobStatus"] == "Stopped"
    assert_kept(interrupted, job)


def test_a_disk_that_stays_full_costs_no_model_that_was_trained(interrupted, monkeypatch):
    class FullDisk:
        def __getattr__(self, name):
            return getattr(interrupted.objects, name)

        def put_file(self, *_):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(job_run, "TROUBLE_SECONDS", 0.01)
    house = replace(interrupted, role_stores=RoleStores(FullDisk(), interrupted.seal))
    job = finished(house)
    assert job["AutoMLJobStatus"] == "Completed"
    assert_kept(interrupted, job)
    assert any("No space left" in one["PartialFailureMessage"] for one in job["PartialFailureReasons"])
