"""A job's role is asked at each phase: one that changed fails the job, and nothing stands in for it."""

from __future__ import annotations

from pathlib import Path

import pytest

import houses
import mean_problem
from gyropilot import names
from gyropilot.control import automl_jobs
from gyropilot.engine.local_process import LocalProcessEngine
from gyropilot.store import roles
from gyropilot.store.roles import Role
from gyropilot.worker.loop import Worker
from mean_problem import MEAN
from services import wait_until

ARN = names.role_arn(names.ACCOUNT_ID, "team")
WIDE = Role(arn=ARN, read_prefixes=("s3://data/numbers",), write_prefixes=("s3://data/out",), passable_by=("*",))


@pytest.fixture
def house(tmp_path):
    house = houses.build(tmp_path, (MEAN,))
    roles.add(house.db, WIDE)
    yield house
    house.db.close()


@pytest.fixture
def worker(house):
    tests = Path(mean_problem.__file__).parent
    engine = LocalProcessEngine(cores=2, memory_bytes=2**31, allowed_prefixes=("mean_problem:",), python_path=(tests,))
    worker = Worker(house, engine)
    yield worker
    worker.stop()


def create(house, **chosen):
    request = houses.mean_request(RoleArn=ARN, **chosen)
    automl_jobs.create(house, houses.admin(house), request, invocation_id=None, region=houses.REGION)


def described(house):
    return automl_jobs.describe(house, houses.admin(house), houses.REGION, "job")


def failed(house):
    wait_until(lambda: "EndTime" in described(house), seconds=30, what="the end of the job")
    job = described(house)
    assert job["AutoMLJobStatus"] == "Failed"
    assert ARN in job["FailureReason"]
    assert "gyropilot roles add" in job["FailureReason"]
    return job["FailureReason"]


def begun(house):
    progress = automl_jobs.job_progress(house, houses.admin(house), houses.REGION, "job")["Progress"]
    return progress.get("phase") == "training"


def test_a_job_with_a_narrow_role_runs(house, worker):
    worker.start()
    create(house)
    wait_until(lambda: "EndTime" in described(house), seconds=30, what="the end of the job")
    assert described(house)["AutoMLJobStatus"] == "Completed"
    assert house.objects.head("data", "out/job/manifest.json")


def test_a_role_removed_while_the_job_waits_fails_it_before_anything_is_read(house, worker):
    create(house)
    roles.remove(house.db, ARN)
    worker.start()
    assert "removed" in failed(house)
    assert list(house.objects.list("data", "out/")) == []


def test_a_role_narrowed_while_the_job_waits_hides_its_data(house, worker):
    create(house)
    roles.add(house.db, Role(arn=ARN, read_prefixes=(), write_prefixes=("s3://data/out",), passable_by=("*",)))
    worker.start()
    wait_until(lambda: "EndTime" in described(house), seconds=30, what="the end of the job")
    assert described(house)["AutoMLJobStatus"] == "Failed"
    assert "s3://data/numbers/" in described(house)["FailureReason"]


@pytest.mark.parametrize("change", ["removed", "narrowed"])
def test_a_role_changed_in_training_publishes_nothing(house, worker, change):
    worker.start()
    create(house, tags={"steps": "40", "step_seconds": "0.05"})
    wait_until(lambda: begun(house), seconds=30, what="training")
    if change == "removed":
        roles.remove(house.db, ARN)
    else:
        narrow = ("s3://data/elsewhere",)
        roles.add(house.db, Role(arn=ARN, read_prefixes=narrow, write_prefixes=narrow, passable_by=("*",)))
    assert ("removed" if change == "removed" else "may not write") in failed(house)
    assert list(house.objects.list("data", "out/")) == []
