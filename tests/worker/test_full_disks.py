"""A disk that fills up: jobs wait for space and go on, or fail and name it; nothing is half written."""

import hashlib
import json

import pytest

import houses
import small_disks
from gyropilot.worker import job_run
from mean_jobs import create, ended, events_of, kinds_of, log_of, new_worker, training_begun, wait_until
from mean_problem import MEAN

pytestmark = pytest.mark.slow
STEPS = {"steps": "60", "step_seconds": "0.02"}


@pytest.fixture(params=["scratch", "s3", "logs"])
def place(request):
    return request.param


@pytest.fixture
def disk(tmp_path, place):
    with small_disks.mounted(tmp_path / place, mib=4) as disk:
        yield disk


@pytest.fixture
def house(tmp_path, disk):
    house = houses.build(tmp_path, (MEAN,), lease_seconds=2.0, log_mib_per_job=1)
    yield house
    house.db.close()


def run(house, disk, moment, *, relieve):
    worker = new_worker(house)
    if moment == "before it begins":
        disk.fill()
    worker.start()
    try:
        create(house, tags=STEPS)
        if moment == "in training":
            wait_until(lambda: training_begun(house), "training")
            disk.fill()
        assert disk.is_full() or moment == "in training"
        relieve()
        return ended(house)
    finally:
        worker.stop()


def check_whole(house):
    numbers = [event["Sequence"] for event in events_of(house)]
    assert numbers == list(range(1, len(numbers) + 1))
    with house.db.read() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"


@pytest.mark.parametrize("moment", ["before it begins", "in training"])
def test_a_job_goes_on_when_there_is_space_again(house, disk, place, moment, monkeypatch):
    monkeypatch.setattr(job_run, "TROUBLE_SECONDS", 1.0)

    def relieve():
        if place != "logs":
            wait_until(lambda: "trouble" in kinds_of(house), "the trouble")
        disk.free()

    job = run(house, disk, moment, relieve=relieve)
    assert job["AutoMLJobStatus"] == "Completed", job
    manifest = json.loads(house.objects.read("data", "out/job/manifest.json"))
    for name, noted in manifest["files"].items():
        assert hashlib.sha256(house.objects.read("data", f"out/job/{name}")).hexdigest() == noted["sha256"]
    check_whole(house)
    assert "status Completed" in log_of(house)


@pytest.mark.parametrize("moment", ["before it begins", "in training"])
def test_without_space_a_job_ends_and_says_so(house, disk, place, moment, monkeypatch):
    monkeypatch.setattr(job_run, "TROUBLE_SECONDS", 0.01)
    job = run(house, disk, moment, relieve=lambda: None)
    if place == "logs":
        assert job["AutoMLJobStatus"] == "Completed", "a log is not worth a job"
    else:
        assert job["AutoMLJobStatus"] == "Failed"
        assert "no space left" in job["FailureReason"]
        assert [one.key for one in house.objects.list("data", "out/")] == []
    check_whole(house)
    disk.free()
    worker = new_worker(house)
    worker.start()
    try:
        create(house, name="next")
        assert ended(house, "next")["AutoMLJobStatus"] == "Completed", "no restart was needed"
    finally:
        worker.stop()
