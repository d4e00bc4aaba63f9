"""What ends a run from outside: Stop and time limits."""

import pytest

import houses
from gyropilot.control import automl_jobs, steps
from mean_jobs import create, described, ended, events_of, new_worker, training_begun, wait_until


def test_stop_in_training_keeps_what_was_trained(house, worker):
    create(house, tags={"steps": "1000", "step_seconds": "0.02"})
    wait_until(lambda: training_begun(house), "training")
    automl_jobs.stop(house, houses.admin(house), houses.REGION, "job")
    assert described(house)["AutoMLJobStatus"] in {"Stopping", "Stopped"}
    job = ended(house)
    assert job["AutoMLJobStatus"] == "Stopped"
    assert job["BestCandidate"]["CandidateName"] == "mean-0"


def test_stop_before_training_ends_at_once_with_nothing(house, worker):
    create(house, tags={"fault": "slow profile"})
    wait_until(lambda: any(event["Kind"] == "finding" for event in events_of(house)), "the profile")
    automl_jobs.stop(house, houses.admin(house), houses.REGION, "job")
    job = ended(house)
    assert job["AutoMLJobStatus"] == "Stopped"
    assert "BestCandidate" not in job


@pytest.mark.parametrize(
    ("criterion", "secondary_status"),
    [
        ("MaxRuntimePerTrainingJobInSeconds", "Completed"),
        ("MaxAutoMLJobRuntimeInSeconds", "MaxAutoMLJobRuntimeReached"),
    ],
)
def test_a_time_limit_ends_gracefully_with_what_there_is(house, worker, criterion, secondary_status):
    create(house, tags={"steps": "1000", "step_seconds": "0.1"}, criteria={criterion: 3})
    job = ended(house)
    assert (job["AutoMLJobStatus"], job["AutoMLJobSecondaryStatus"]) == ("Completed", secondary_status)
    assert job["BestCandidate"]["CandidateStatus"] == "Completed"
    (event,) = (one for one in events_of(house) if one["Kind"] == "cut_off")
    assert event["Detail"] == {"candidate": "mean-0", "limit": criterion}
    (step,) = job["BestCandidate"]["CandidateSteps"]
    training = steps.describe_training(house, houses.admin(house), houses.REGION, step["CandidateStepName"])
    assert (training["TrainingJobStatus"], training["SecondaryStatus"]) == ("Completed", "MaxRuntimeExceeded")
    assert training["SecondaryStatusTransitions"][-1]["Status"] == "MaxRuntimeExceeded"
    assert "Its time was up" in training["SecondaryStatusTransitions"][-1]["StatusMessage"]


def test_a_stop_survives_a_restart_and_keeps_what_was_trained(house):
    first = new_worker(house)
    first.start()
    create(house, tags={"steps": "1000", "step_seconds": "0.02"})
    wait_until(lambda: training_begun(house), "training")
    first.stop()
    automl_jobs.stop(house, houses.admin(house), houses.REGION, "job")
    second = new_worker(house)
    second.start()
    try:
        job = ended(house)
    finally:
        second.stop()
    assert job["AutoMLJobStatus"] == "Stopped"
    assert job["BestCandidate"]["CandidateName"] == "mean-0"


def test_the_jobs_own_limit_is_told_from_the_candidates(house, worker):
    limits = {"MaxRuntimePerTrainingJobInSeconds": 600, "MaxAutoMLJobRuntimeInSeconds": 3}
    create(house, tags={"steps": "1000", "step_seconds": "0.1"}, criteria=limits)
    assert ended(house)["AutoMLJobSecondaryStatus"] == "MaxAutoMLJobRuntimeReached"
