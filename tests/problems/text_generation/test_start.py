"""A training child takes its first step before it measures anything, however many rows there are."""

from __future__ import annotations

import sys
import time

import pytest

import services
import tuning_jobs
from gyropilot.engine.engine import Task
from gyropilot.engine.local_process import LocalProcessEngine
from gyropilot.problems import tasks

SECONDS = 120


@pytest.mark.slow
def test_ten_thousand_rows_begin_with_a_step(tmp_path):
    job = tuning_jobs.Job(tmp_path, services.make_tiny_model(tmp_path / "tiny"), epochs=1)
    rows = ((f"What is {number} and {number}?", f"It is {2 * number}.") for number in range(10_000))
    task = job.train_task(job.profile(job.stage(rows)), memory_bytes=2**32)
    log: list[bytes] = []
    run = LocalProcessEngine(cores=1, memory_bytes=2**33).start(
        Task(
            function="gyropilot.problems.text_generation.train:train",
            arguments=tasks.to_json(task),
            scratch=tmp_path / "scratch",
            log=log.append,
            cores=1,
            memory_bytes=2**32,
            python=sys.executable,
        )
    )
    heard, until = [], time.monotonic() + SECONDS
    while not any(one.kind == "event" and one.body["kind"] == "first_step" for one in heard):
        message = run.next_message(0.5)
        heard += [message] if message else []
        assert run.ending() is None, b"".join(log)[-3000:]
        assert time.monotonic() < until, run.kill()
    run.kill()
    assert {one.body["phase"] for one in heard if one.kind == "progress"} <= {"training"}
    (told,) = [one.body for one in heard if one.kind == "event" and one.body["kind"] == "first_step"]
    assert told["detail"]["seconds"] == pytest.approx(sum(told["detail"]["parts"].values()), abs=0.05)
    print(told["message"])
