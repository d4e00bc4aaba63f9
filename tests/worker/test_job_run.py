"""Jobs through a real worker: real children, database and folders; only the problem type is a small one."""

import hashlib
import json

import houses
from gyropilot import names
from gyropilot.control import automl_jobs
from gyropilot.errors import NotAllowed
from gyropilot.store import model_data
from gyropilot.worker import publishing
from mean_jobs import create, ended, events_of, wait_until


def test_a_job_ends_with_a_best_candidate_and_a_manifest(house, worker):
    create(house, tags={"candidates": "2"})
    job = ended(house)
    assert (job["AutoMLJobStatus"], job["AutoMLJobSecondaryStatus"]) == ("Completed", "Completed")
    best = job["BestCandidate"]
    assert best["CandidateName"] == "mean-0"
    (metric,) = best["CandidateProperties"]["CandidateMetrics"]
    assert (metric["StandardMetricName"], metric["MetricName"]) == ("MSE", "MSE")
    assert best["InferenceContainers"][0]["ModelDataUrl"] == "s3://data/out/job/model.json"
    manifest = json.loads(house.objects.read("data", "out/job/manifest.json"))
    assert list(manifest["files"]) == ["model.json"]
    assert json.loads(house.objects.read("data", "out/job/model.json")) == {"mean": 2.0}
    phases = [event["Detail"]["secondary_status"] for event in events_of(house) if event["Kind"] == "status"]
    assert phases == ["AnalyzingData", "TrainingModels", "Completed"]
    wait_until(lambda: not list(house.settings.scratch.iterdir()), "an empty scratch folder")


def test_a_fault_in_the_data_fails_the_job_and_says_where(house, worker):
    house.objects.put_bytes("data", "numbers/b.csv", b"4\nfive\n", "text/csv")
    create(house)
    job = ended(house)
    assert job["AutoMLJobStatus"] == "Failed"
    assert "s3://data/numbers/b.csv row 2" in job["FailureReason"]
    assert "five" in job["FailureReason"]


def test_a_failed_candidate_gives_its_reason_and_leaves_no_artifact(house, worker):
    create(house, tags={"fault": "training"})
    job = ended(house)
    assert job["AutoMLJobStatus"] == "Failed"
    assert "is the fault asked for" in job["FailureReason"]
    assert list(house.objects.list("data", "out/")) == []
    request = {"AutoMLJobName": "job"}
    listed = automl_jobs.list_candidates(house, houses.admin(house), houses.REGION, request)["Candidates"]
    assert [(one["CandidateStatus"], one["ObjectiveStatus"]) for one in listed] == [("Failed", "Failed")]


def test_a_job_with_a_model_tells_why_other_candidates_failed(house, worker):
    create(house, tags={"fault": "first candidate", "candidates": "2"})
    job = ended(house)
    assert (job["AutoMLJobStatus"], job["BestCandidate"]["CandidateName"]) == ("Completed", "mean-1")
    (reason,) = job["PartialFailureReasons"]
    assert reason["PartialFailureMessage"].startswith("Candidate mean-0: ")
    assert "is the fault asked for" in reason["PartialFailureMessage"]
    (summary,) = automl_jobs.list_jobs(house, houses.admin(house), houses.REGION, {})["AutoMLJobSummaries"]
    assert summary["PartialFailureReasons"] == job["PartialFailureReasons"]


def test_a_bug_reads_internal_failure_and_the_log_has_it_whole(house, worker):
    create(house, tags={"fault": "bug"})
    job = ended(house)
    assert job["FailureReason"].startswith("InternalFailure")
    assert "secret of the house" not in job["FailureReason"]
    log = automl_jobs.job_log(house, houses.admin(house), houses.REGION, {"AutoMLJobName": "job"})
    assert "secret of the house" in log["Text"]


def test_a_failed_job_removes_only_what_it_put(house, worker):
    house.objects.put_bytes("data", "out/job/manifest.json", b"another's", "application/json")
    create(house, tags={"fault": "training"})
    assert ended(house)["AutoMLJobStatus"] == "Failed"
    assert house.objects.read("data", "out/job/manifest.json") == b"another's"


def test_what_a_candidate_may_be_served_by_is_recorded(house, worker):
    create(house, tags={"candidates": "2"})
    assert ended(house)["AutoMLJobStatus"] == "Completed"
    data = house.objects.read("data", "out/job/model.json")
    found = model_data.find(house.db, names.ACCOUNT_ID, "s3://data/out/job/model.json")
    assert (found.sha256, found.size_bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    assert (found.image, found.problem, found.shares, found.candidate) == ("gyropilot/mean", "Tabular", "", "mean-1")


def test_a_job_that_fails_after_it_published_leaves_nothing_to_be_served(house, worker, monkeypatch):
    recorded = []

    def failing(objects, uri, digests):
        recorded.append(model_data.find(house.db, names.ACCOUNT_ID, f"{uri}/model.json"))
        raise NotAllowed("the role may not any more")

    monkeypatch.setattr(publishing, "publish_manifest", failing)
    create(house)
    assert ended(house)["AutoMLJobStatus"] == "Failed"
    assert recorded[0].candidate == "mean-0"
    assert model_data.find(house.db, names.ACCOUNT_ID, "s3://data/out/job/model.json") is None
    assert list(house.objects.list("data", "out/")) == []
