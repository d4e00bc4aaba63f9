"""Jobs of the small problem type through a real worker: made, watched and waited for as a client would."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import houses
import mean_problem
from gyropilot.control import automl_jobs, steps, transform_jobs
from gyropilot.engine.local_process import LocalProcessEngine
from gyropilot.worker.loop import Worker

DEADLINE_SECONDS = 30
TESTS = Path(mean_problem.__file__).parent


def new_worker(house):
    engine = LocalProcessEngine(cores=2, memory_bytes=2**31, allowed_prefixes=("mean_problem:",), python_path=(TESTS,))
    return Worker(house, engine)


def create(house, **request):
    return automl_jobs.create(
        house, houses.admin(house), houses.mean_request(**request), invocation_id=None, region=houses.REGION
    )


def stop(house, name="job"):
    automl_jobs.stop(house, houses.admin(house), houses.REGION, name)


def described(house, name="job"):
    return automl_jobs.describe(house, houses.admin(house), houses.REGION, name)


def candidates_of(house, name="job", **request):
    asked = {"AutoMLJobName": name} | request
    return automl_jobs.list_candidates(house, houses.admin(house), houses.REGION, asked)["Candidates"]


def step_of(house, kind, name):
    """Describe a training, processing or transform job."""
    describe = {
        "training": steps.describe_training,
        "processing": steps.describe_processing,
        "transform": transform_jobs.describe,
    }
    return describe[kind](house, houses.admin(house), houses.REGION, name)


def wait_until(claim, what):
    for _ in range(DEADLINE_SECONDS * 50):
        if claim():
            return
        threading.Event().wait(0.02)
    pytest.fail(f"{what} did not come about in {DEADLINE_SECONDS} s")


def ended(house, name="job"):
    wait_until(lambda: "EndTime" in described(house, name), f"the end of {name}")
    return described(house, name)


def events_of(house, name="job"):
    request = {"AutoMLJobName": name}
    return automl_jobs.job_events(house, houses.admin(house), houses.REGION, request)["Events"]


def kinds_of(house, name="job"):
    return [event["Kind"] for event in events_of(house, name)]


def log_of(house, name="job"):
    return automl_jobs.job_log(house, houses.admin(house), houses.REGION, {"AutoMLJobName": name})["Text"]


def progress_of(house, name="job"):
    return automl_jobs.job_progress(house, houses.admin(house), houses.REGION, name)["Progress"]


def training_begun(house):
    return progress_of(house).get("phase") == "training"


def child_of(house):
    """The process id of the child in training."""
    (pid_file,) = house.settings.scratch.glob("*/checkpoints/mean-0/pid")
    return int(pid_file.read_text())
