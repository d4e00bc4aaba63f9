"""Children that die or hang: started again from where they were, and not for ever."""

import os
import signal

from gyropilot.worker import watching
from mean_jobs import create, ended, events_of, training_begun, wait_until


def test_a_child_that_dies_goes_on_from_its_checkpoint(house, worker):
    create(house, tags={"fault": "dies once"})
    assert ended(house)["AutoMLJobStatus"] == "Completed"
    assert [event["Kind"] for event in events_of(house)].count("died") == 1


def test_a_child_that_always_dies_ends_the_job_with_the_cause(house, worker):
    create(house, tags={"fault": "always dies"})
    job = ended(house)
    assert job["AutoMLJobStatus"] == "Failed"
    assert "SIGKILL" in job["FailureReason"]
    assert [event["Kind"] for event in events_of(house)].count("died") == 3


def test_a_child_that_hangs_is_ended_and_goes_on_from_its_checkpoint(house, worker, monkeypatch):
    monkeypatch.setattr(watching, "STALL_SECONDS", 2.5)
    create(house, tags={"steps": "60", "step_seconds": "0.02"})
    wait_until(lambda: training_begun(house), "training")
    (pid_file,) = house.settings.scratch.glob("*/checkpoints/mean-0/pid")
    os.kill(int(pid_file.read_text()), signal.SIGSTOP)
    assert ended(house)["AutoMLJobStatus"] == "Completed"
    assert [event["Kind"] for event in events_of(house)].count("died") == 1
