"""Reports of the best candidate, and what profile leaves: in the bucket and told, whatever fails beside them."""

import json

import pytest

import houses
from gyropilot.worker import reporting
from mean_jobs import create, described, ended, events_of, kinds_of, new_worker, stop, wait_until
from mean_problem import REPORTED

REPORT = "out/job/documentation/report.json"


@pytest.fixture
def house(tmp_path):
    house = houses.build(tmp_path, (REPORTED,), lease_seconds=2.0)
    yield house
    house.db.close()


def phases_of(house):
    return [event["Detail"]["secondary_status"] for event in events_of(house) if event["Kind"] == "status"]


def reasons_of(job):
    return [one["PartialFailureMessage"] for one in job.get("PartialFailureReasons", ())]


def test_the_best_candidate_is_reported_on_and_the_manifest_has_the_report(house, worker):
    create(house, tags={"candidates": "2"})
    job = ended(house)
    assert (job["AutoMLJobStatus"], job["AutoMLJobSecondaryStatus"]) == ("Completed", "Completed")
    assert phases_of(house) == ["AnalyzingData", "TrainingModels", "GeneratingExplainabilityReport", "Completed"]
    report = json.loads(house.objects.read("data", REPORT))
    assert [name for name, _, _ in report.pop("compared")] == ["mean-0", "mean-1"]
    assert report == {"mean": 2.0, "candidate": "mean-0", "count": 3}
    properties = job["BestCandidate"]["CandidateProperties"]
    assert properties["CandidateArtifactLocations"] == {"Explainability": "s3://data/out/job/documentation"}
    manifest = json.loads(house.objects.read("data", "out/job/manifest.json"))
    assert list(manifest["files"]) == ["documentation/report.json", "model.json"]


@pytest.mark.parametrize(
    ("fault", "why"), [("report", "the report is the fault asked for"), ("report dies", "The child died 3 times")]
)
def test_a_report_that_fails_costs_the_job_no_model(house, worker, fault, why):
    create(house, tags={"fault": fault})
    job = ended(house)
    assert (job["AutoMLJobStatus"], job["AutoMLJobSecondaryStatus"]) == ("Completed", "ExplainabilityError")
    (reason,) = reasons_of(job)
    assert reason.startswith("The mean report was not made: ")
    assert why in reason
    assert "CandidateArtifactLocations" not in job["BestCandidate"]["CandidateProperties"]
    assert job["BestCandidate"]["InferenceContainers"]
    assert "report_missing" in kinds_of(house)


def test_a_report_for_which_there_is_no_time_is_left_out_and_said_so(house, worker, monkeypatch):
    monkeypatch.setattr(reporting, "LEAST_SECONDS", 3600.0)
    create(house, criteria={"MaxAutoMLJobRuntimeInSeconds": 600})
    job = ended(house)
    assert (job["AutoMLJobStatus"], job["AutoMLJobSecondaryStatus"]) == ("Completed", "MaxAutoMLJobRuntimeReached")
    (reason,) = reasons_of(job)
    assert reason.startswith("The mean report was not made: the job's time limit left no time for it; raise it")


def test_a_report_that_overruns_the_jobs_limit_is_ended(house, worker, monkeypatch):
    monkeypatch.setattr(reporting, "LEAST_SECONDS", 0.0)
    create(house, tags={"fault": "slow report"}, criteria={"MaxAutoMLJobRuntimeInSeconds": 6})
    job = ended(house)
    assert job["AutoMLJobSecondaryStatus"] == "MaxAutoMLJobRuntimeReached"
    (reason,) = reasons_of(job)
    assert reason.startswith("The mean report was not made: the job's time limit left no time for it; raise it")
    assert (job["EndTime"] - job["CreationTime"]).total_seconds() < 60, "the report sleeps for a minute"


def test_stop_ends_a_report_and_the_job_keeps_its_model(house, worker):
    create(house, tags={"fault": "slow report"})
    wait_until(lambda: "reporting" in kinds_of(house), "the report")
    stop(house)
    job = ended(house)
    assert (job["AutoMLJobStatus"], job["BestCandidate"]["CandidateName"]) == ("Stopped", "mean-0")
    assert reasons_of(job) == []


def test_a_worker_that_goes_down_in_a_report_leaves_it_to_the_next_and_nothing_is_trained_again(house):
    first = new_worker(house)
    first.start()
    create(house, tags={"fault": "slow report"})
    wait_until(lambda: "reporting" in kinds_of(house), "the report")
    first.stop()
    (output,) = house.settings.scratch.glob("*/output/mean-0")
    (output / "model.json").unlink()
    output.rmdir()
    second = new_worker(house)
    second.start()
    try:
        wait_until(lambda: kinds_of(house).count("reporting") == 2, "the report again")
        assert [one.read_text() for one in house.settings.scratch.glob("*/output/mean-0/model.json")] == [
            house.objects.read("data", "out/job/model.json").decode()
        ], "fetched from the bucket, since it was gone here"
        assert phases_of(house).count("TrainingModels") == 1
        stop(house)
        assert ended(house)["AutoMLJobStatus"] == "Stopped"
    finally:
        second.stop()


def test_what_profile_leaves_is_told_while_the_job_goes_on_and_stays_though_it_fails(house, worker):
    create(house, tags={"ends_as": "trained", "steps": "1000", "step_seconds": "0.02"})
    wait_until(lambda: "AutoMLJobArtifacts" in described(house), "the notebook")
    notebook = "s3://data/out/job/notebooks/Exploration.ipynb"
    assert described(house)["AutoMLJobArtifacts"] == {"DataExplorationNotebookLocation": notebook}
    assert described(house)["ResolvedAttributes"]["AutoMLJobObjective"] == {"MetricName": "MSE of 3"}
    assert described(house)["ResolvedAttributes"]["CompletionCriteria"] == {"MaxCandidates": 1}
    stop(house)
    ended(house)
    create(house, name="failing", tags={"ends_as": "trained", "fault": "training"})
    assert ended(house, "failing")["AutoMLJobStatus"] == "Failed"
    assert [one.key for one in house.objects.list("data", "out/failing/")] == [
        "out/failing/notebooks/Exploration.ipynb"
    ]


def test_a_job_may_end_with_what_profile_left(house, worker):
    create(house, tags={"ends_as": "CandidateDefinitionsGenerated"})
    job = ended(house)
    assert (job["AutoMLJobStatus"], job["AutoMLJobSecondaryStatus"]) == ("Completed", "CandidateDefinitionsGenerated")
    assert "BestCandidate" not in job
    manifest = json.loads(house.objects.read("data", "out/job/manifest.json"))
    assert list(manifest["files"]) == ["notebooks/Exploration.ipynb"]


def test_objects_beside_the_channels_are_pinned_and_staged(house, worker):
    house.objects.put_bytes("data", "extra/note.json", b"a note", "application/json")
    create(house, tags={"extra": "s3://data/extra/note.json", "fault": "slow profile"})
    wait_until(lambda: "finding" in kinds_of(house), "the profile")
    assert [one.read_text() for one in house.settings.scratch.glob("*/inputs/extra-0")] == ["a note"]
    stop(house)
    ended(house)


def test_an_object_beside_the_channels_that_is_not_there_fails_the_job(house, worker):
    create(house, tags={"extra": "s3://data/extra/none.json"})
    job = ended(house)
    assert job["AutoMLJobStatus"] == "Failed"
    assert "s3://data/extra/none.json: there is no object of this name" in job["FailureReason"]
