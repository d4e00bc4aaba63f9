"""Several candidates of a job side by side: each trained once, whatever becomes of those beside it."""

import json
from dataclasses import replace

import pytest

import houses
import mean_jobs
from gyropilot.store import jobs, outputs
from gyropilot.worker import job_run
from mean_jobs import (
    candidates_of,
    create,
    described,
    ended,
    events_of,
    kinds_of,
    new_worker,
    progress_of,
    stop,
    wait_until,
)
from mean_problem import REPORTED


def statuses_of(house):
    return {one["CandidateName"]: one["CandidateStatus"] for one in candidates_of(house)}


def begun(house):
    return {one.parent.name for one in house.settings.scratch.glob("*/checkpoints/*/pid")}


def chosen_by(house, candidate):
    record = jobs.find(house.db, houses.admin(house).account_id, houses.REGION, "job")
    return outputs.find(house.db, record.id, outputs.of_candidate(candidate)).result["chosen"]


def test_candidates_train_side_by_side_on_shares_of_the_machine(house, worker):
    tags = {"candidates": "5", "at_once": "2", "meet": "2"}
    create(house, tags=tags, criteria={"MaxCandidates": 5})
    job = ended(house)
    assert (job["AutoMLJobStatus"], job["AutoMLJobSecondaryStatus"]) == ("Completed", "MaxCandidatesReached")
    assert set(statuses_of(house).values()) == {"Completed"}
    assert job["BestCandidate"]["CandidateName"] == "mean-0"
    shares = [event["Detail"]["cores"] for event in events_of(house) if event["Kind"] == "bounds"]
    assert shares == [2, 1], "profile has the machine to itself"
    first, second = [event["Message"] for event in events_of(house) if event["Kind"] == "bounds"]
    assert second.startswith("A child is granted 1 core and ")
    assert first.count(". ") > second.count(". "), "what holds for the whole job is told once"
    assert chosen_by(house, "mean-4")["told"] >= 3, "it heard of those before"
    manifest = json.loads(house.objects.read("data", "out/job/manifest.json"))
    assert list(manifest["files"]) == [f"mean-{number}/model.json" for number in range(5)]
    wait_until(lambda: not list(house.settings.scratch.iterdir()), "an empty scratch folder")


def test_what_candidates_print_side_by_side_stays_apart_in_the_log(house, worker):
    create(house, tags={"candidates": "2", "at_once": "2", "meet": "2", "fault": "bug"})
    assert ended(house)["AutoMLJobStatus"] == "Failed"
    lines = mean_jobs.log_of(house).splitlines()
    for name in ("mean-0", "mean-1"):
        assert f"[{name}] ZeroDivisionError: secret of the house" in lines


def test_progress_is_that_of_all_candidates(house, worker):
    tags = {"candidates": "3", "at_once": "3", "steps": "1000", "step_seconds": "0.02"}
    create(house, tags=tags, criteria={"MaxCandidates": 3})
    wait_until(lambda: progress_of(house).get("values", {}).get("running") == 3, "three at once")
    wait_until(lambda: 0 < progress_of(house)["done"] < 3, "some progress")
    assert progress_of(house)["total"] == 3
    assert progress_of(house)["unit"] == "candidates"
    stop(house)
    job = ended(house)
    assert job["AutoMLJobStatus"] == "Stopped"
    assert set(statuses_of(house).values()) == {"Completed"}, "each kept what it had"
    assert "BestCandidate" in job


def test_a_candidate_that_fails_leaves_those_beside_it_alone(house, worker):
    create(house, tags={"candidates": "3", "at_once": "3", "meet": "3", "fault": "first candidate"})
    assert ended(house)["BestCandidate"]["CandidateName"] == "mean-1"
    assert statuses_of(house) == {"mean-0": "Failed", "mean-1": "Completed", "mean-2": "Completed"}


def test_a_candidate_that_leaves_no_model_fails_alone(house, worker):
    create(house, tags={"candidates": "2", "at_once": "2", "fault": "no model"})
    assert ended(house)["BestCandidate"]["CandidateName"] == "mean-1"
    (failed,) = candidates_of(house, CandidateNameEquals="mean-0")
    assert failed["FailureReason"] == "Training did not leave the model files that it names: mean-0/model.json"
    assert [one.key for one in house.objects.list("data", "out/job/mean-0")] == []


def test_a_worker_that_goes_down_hands_all_candidates_back_and_the_next_goes_on(house):
    first = new_worker(house)
    first.start()
    create(house, tags={"candidates": "4", "at_once": "2", "steps": "100", "step_seconds": "0.02"})
    wait_until(lambda: begun(house) == {"mean-0", "mean-1"}, "two in training")
    first.stop()
    saved = list(house.settings.scratch.glob("*/checkpoints/*/handed_back"))
    assert {one.parent.name for one in saved} == {"mean-0", "mean-1"}
    assert set(statuses_of(house).values()) == {"InProgress"}
    second = new_worker(house)
    second.start()
    try:
        assert ended(house)["AutoMLJobStatus"] == "Completed"
    finally:
        second.stop()
    assert statuses_of(house) == dict.fromkeys([f"mean-{number}" for number in range(4)], "Completed")
    assert chosen_by(house, "mean-1")["told"] == 0, "it was trained as it was first proposed"


def test_trouble_of_one_candidate_hands_the_others_back_too(house, worker, monkeypatch):
    monkeypatch.setattr(job_run, "TROUBLE_SECONDS", 0.01)
    tags = {"candidates": "2", "at_once": "2", "meet": "2", "fault": "full disk once", "steps": "20"}
    create(house, tags=tags)
    assert ended(house)["AutoMLJobStatus"] == "Completed"
    assert set(statuses_of(house).values()) == {"Completed"}
    assert "trouble" in kinds_of(house)


def test_candidates_that_have_ended_are_not_trained_again(house):
    first = new_worker(house)
    first.start()
    create(house, tags={"candidates": "4", "at_once": "2", "fault": "deaf", "steps": "1"})
    wait_until(lambda: statuses_of(house).get("mean-0") == "Completed" and "mean-2" in begun(house), "mean-0")
    first.stop()
    ended_at = candidates_of(house, CandidateNameEquals="mean-0")[0]["EndTime"]
    second = new_worker(house)
    second.start()
    try:
        wait_until(lambda: begun(house) >= {"mean-1", "mean-2"}, "the others in training again")
        stop(house)
        wait_until(lambda: described(house)["AutoMLJobStatus"] == "Stopping", "the stop")
        assert candidates_of(house, CandidateNameEquals="mean-0")[0]["EndTime"] == ended_at
    finally:
        second.stop()


def test_a_candidate_that_search_has_no_more_use_for_after_an_interruption_is_ended(house):
    first = new_worker(house)
    first.start()
    create(house, tags={"candidates": "4", "at_once": "2", "fault": "deaf", "steps": "1"})
    wait_until(lambda: statuses_of(house).get("mean-0") == "Completed" and "mean-1" in begun(house), "mean-0")
    first.stop()
    content = replace(house, problems=tuple(replace(one, open_search=Content) for one in house.problems))
    second = new_worker(content)
    second.start()
    try:
        assert ended(house)["AutoMLJobStatus"] == "Completed"
    finally:
        second.stop()
    statuses = statuses_of(house)
    assert statuses.pop("mean-0") == "Completed"
    assert set(statuses.values()) == {"Stopped"}
    (left,) = candidates_of(house, CandidateNameEquals="mean-1")
    assert left["FailureReason"] == "The search came to its end without it after an interruption."
    assert "EndTime" in left


class Content:
    """A search that wants nothing more once it heard of mean-0."""

    def __init__(self, spec, profile):
        self._names = ["mean-0"]

    def at_once(self, cores):
        return 2

    def ask(self):
        return {"name": self._names.pop()} if self._names else None

    def tell(self, name, result):
        pass


@pytest.fixture
def impatient(tmp_path):
    """A house in which children are ended half a second after their time."""
    house = houses.build(tmp_path, (replace(REPORTED, reports=()),), lease_seconds=2.0)
    worker = new_worker(house)
    worker.start()
    yield house
    worker.stop()
    house.db.close()


def test_the_jobs_time_limit_ends_candidates_that_do_not_hear_it_and_keeps_those_that_ended(impatient):
    tags = {"candidates": "3", "at_once": "3", "fault": "deaf", "steps": "1"}
    create(impatient, tags=tags, criteria={"MaxAutoMLJobRuntimeInSeconds": 4, "MaxCandidates": 3})
    job = ended(impatient)
    assert (job["AutoMLJobStatus"], job["AutoMLJobSecondaryStatus"]) == ("Completed", "MaxAutoMLJobRuntimeReached")
    assert job["BestCandidate"]["CandidateName"] == "mean-0"
    assert "PartialFailureReasons" not in job, "an end by the clock is no failure"
    assert statuses_of(impatient) == {"mean-0": "Completed", "mean-1": "Stopped", "mean-2": "Stopped"}
    assert "its time was up" in candidates_of(impatient, CandidateNameEquals="mean-1")[0]["FailureReason"]
    assert (job["EndTime"] - job["CreationTime"]).total_seconds() < 60, "the children sleep for a minute"


def test_without_any_model_at_the_time_limit_a_job_fails_and_says_so(impatient):
    create(impatient, tags={"steps": "3", "step_seconds": "60"}, criteria={"MaxAutoMLJobRuntimeInSeconds": 2})
    job = ended(impatient)
    assert job["AutoMLJobStatus"] == "Failed"
    assert "before any model was trained; raise the limit" in job["FailureReason"]


def test_stop_ends_children_that_do_not_hear_it(impatient):
    create(impatient, tags={"candidates": "2", "at_once": "2", "fault": "deaf", "steps": "1"})
    wait_until(lambda: statuses_of(impatient).get("mean-0") == "Completed", "mean-0")
    stop(impatient)
    job = ended(impatient)
    assert (job["AutoMLJobStatus"], job["BestCandidate"]["CandidateName"]) == ("Stopped", "mean-0")
    assert statuses_of(impatient) == {"mean-0": "Completed", "mean-1": "Stopped"}


def test_what_is_written_of_a_candidate_does_not_grow_with_their_number(house, worker, monkeypatch):
    sizes = {}
    update = jobs.update

    def measured(db, lease, changes):
        record = update(db, lease, changes)
        ended_count = record.state.get("reached", {}).get("candidates ended", 0)
        sizes[ended_count] = max(sizes.get(ended_count, 0), len(json.dumps(record.state)))
        return record

    monkeypatch.setattr(jobs, "update", measured)
    create(house, tags={"candidates": "12", "at_once": "2", "steps": "1"})
    assert ended(house)["AutoMLJobStatus"] == "Completed"
    assert sizes[11] < sizes[2] + 100


@pytest.mark.parametrize("kind", ["training", "processing", "transform"])
def test_the_steps_before_a_candidate_are_told(house, worker, kind):
    create(house, tags={"candidates": "2", "at_once": "2"})
    ended(house)
    (first,) = candidates_of(house, CandidateNameEquals="mean-0")
    named = {step["CandidateStepName"]: step["CandidateStepArn"] for step in first["CandidateSteps"]}
    name = {"training": "dpp-mean-0", "processing": "db-1", "transform": "rpb-mean-0"}[kind]
    assert list(named) == ["db-1", "dpp-mean-0", "rpb-mean-0", "job-mean-0"]
    assert named[name].endswith(f":{kind}-job/{name}")
    assert mean_jobs.step_of(house, kind, name)[f"{kind.title()}JobStatus"] == "Completed"
