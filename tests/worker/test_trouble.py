"""Trouble that may pass: waited for, not for ever."""

import errno
from dataclasses import replace

import pytest

from gyropilot.store.role_objects import RoleStores
from gyropilot.worker import job_run, publishing
from mean_jobs import create, described, ended, events_of, kinds_of, new_worker, wait_until


class FullDisk:
    """An object store whose disk is full for a number of puts."""

    def __init__(self, objects, failures):
        self._objects, self._failures = objects, failures

    def __getattr__(self, name):
        return getattr(self._objects, name)

    def put_file(self, *arguments):
        if self._failures:
            self._failures -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._objects.put_file(*arguments)


@pytest.mark.parametrize(("failures", "status"), [(2, "Completed"), (99, "Failed")])
def test_a_full_disk_is_waited_for_but_not_for_ever(house, monkeypatch, failures, status):
    monkeypatch.setattr(job_run, "TROUBLE_SECONDS", 0.01)
    house = replace(house, role_stores=RoleStores(FullDisk(house.objects, failures), house.seal))
    worker = new_worker(house)
    worker.start()
    try:
        create(house)
        job = ended(house)
    finally:
        worker.stop()
    assert job["AutoMLJobStatus"] == status
    assert status == "Completed" or "No space left on device" in job["FailureReason"]


def test_a_child_whose_disk_is_full_is_tried_again(house, worker, monkeypatch):
    monkeypatch.setattr(job_run, "TROUBLE_SECONDS", 0.01)
    create(house, tags={"fault": "full disk once"})
    assert ended(house)["AutoMLJobStatus"] == "Completed"
    (trouble,) = [event for event in events_of(house) if event["Kind"] == "trouble"]
    assert "no space left on a disk of the service" in trouble["Message"]


def test_a_job_in_trouble_does_not_hold_up_the_next(house, monkeypatch):
    monkeypatch.setattr(job_run, "TROUBLE_SECONDS", 600.0)
    worker = new_worker(house)
    worker.start()
    try:
        create(house, name="in-trouble", tags={"fault": "full disk once"})
        wait_until(lambda: "trouble" in kinds_of(house, "in-trouble"), "the trouble")
        create(house, name="next")
        assert ended(house, "next")["AutoMLJobStatus"] == "Completed"
        assert described(house, "in-trouble")["AutoMLJobStatus"] == "InProgress"
    finally:
        worker.stop()


def test_a_mistake_of_ours_is_not_tried_again(house, monkeypatch):
    def mistaken(*_, **__):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "gone")

    monkeypatch.setattr(publishing, "publish", mistaken)
    worker = new_worker(house)
    worker.start()
    try:
        create(house)
        job = ended(house)
    finally:
        worker.stop()
    assert job["FailureReason"].startswith("InternalFailure")
    assert "trouble" not in kinds_of(house)
