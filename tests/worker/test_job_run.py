"""Jobs through a real worker: real children, database and folders; only the problem type is a small one."""

import errno
import json
import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest

import houses
import mean_problem
from gyropilot.control import automl_jobs
from gyropilot.engine.local_process import LocalProcessEngine
from gyropilot.store import jobs, leases
from gyropilot.store.role_objects import RoleStores
from gyropilot.worker import job_run, watching
from gyropilot.worker.loop import Worker
from mean_problem import MEAN

DEADLINE_SECONDS = 30
TESTS = Path(mean_problem.__file__).parent


@pytest.fixture
def house(tmp_path):
    house = houses.build(tmp_path, (MEAN,), lease_seconds=2.0)
    yield house
    house.db.close()


@pytest.fixture
def worker(house):
    worker = new_worker(house)
    worker.start()
    yield worker
    worker.stop()


def new_worker(house):
    engine = LocalProcessEngine(cores=2, memory_bytes=2**31, allowed_prefixes=("mean_problem:",), python_path=(TESTS,))
    return Worker(house, engine)


def create(house, **request):
    return automl_jobs.create(
        house, houses.admin(house), houses.mean_request(**request), invocation_id=None, region=houses.REGION
    )


def described(house, name="job"):
    return automl_jobs.describe(house, houses.admin(house), houses.REGION, name)


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


def training_begun(house):
    progress = automl_jobs.job_progress(house, houses.admin(house), houses.REGION, "job")["Progress"]
    return progress.get("phase") == "training"


def test_a_job_ends_with_a_best_candidate_and_a_manifest(house, worker):
    create(house, tags={"candidates": "2"})
    job = ended(house)
    assert (job["AutoMLJobStatus"], job["AutoMLJobSecondaryStatus"]) == ("Completed", "Completed")
    best = job["BestCandidate"]
    assert best["CandidateName"] == "mean-0"
    assert best["CandidateProperties"]["CandidateMetrics"][0]["StandardMetricName"] == "MSE"
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


def test_a_worker_that_goes_down_hands_the_job_to_the_next(house):
    first = new_worker(house)
    first.start()
    create(house, tags={"steps": "100", "step_seconds": "0.02"})
    wait_until(lambda: training_begun(house), "training")
    first.stop()
    assert described(house)["AutoMLJobStatus"] == "InProgress"
    second = new_worker(house)
    second.start()
    try:
        assert ended(house)["AutoMLJobStatus"] == "Completed"
    finally:
        second.stop()
    assert "resumed" in [event["Kind"] for event in events_of(house)]


def test_a_lost_lease_kills_the_child_and_writes_nothing(house, worker):
    create(house, tags={"steps": "1000", "step_seconds": "0.02"})
    wait_until(lambda: training_begun(house), "training")
    (pid_file,) = house.settings.scratch.glob("*/checkpoints/mean-0/pid")
    leases.release_all(house.db)
    lease, _ = leases.claim(house.db, "another worker", 60.0, 1)
    pid = int(pid_file.read_text())
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the end of the child")
    assert described(house)["AutoMLJobStatus"] == "InProgress"
    assert lease.epoch == 2
    jobs.update(house.db, lease, jobs.JobChanges(status="Failed", failure_reason="taken over"))


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


def test_a_child_that_hangs_is_ended_and_goes_on_from_its_checkpoint(house, worker, monkeypatch):
    monkeypatch.setattr(watching, "STALL_SECONDS", 2.5)
    create(house, tags={"steps": "60", "step_seconds": "0.02"})
    wait_until(lambda: training_begun(house), "training")
    (pid_file,) = house.settings.scratch.glob("*/checkpoints/mean-0/pid")
    os.kill(int(pid_file.read_text()), signal.SIGSTOP)
    assert ended(house)["AutoMLJobStatus"] == "Completed"
    assert [event["Kind"] for event in events_of(house)].count("died") == 1


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


def test_a_failed_job_removes_only_what_it_put(house, worker):
    house.objects.put_bytes("data", "out/job/manifest.json", b"another's", "application/json")
    create(house, tags={"fault": "training"})
    assert ended(house)["AutoMLJobStatus"] == "Failed"
    assert house.objects.read("data", "out/job/manifest.json") == b"another's"


def test_an_input_that_changes_after_it_was_pinned_fails_the_job(house):
    from gyropilot.errors import InvalidData
    from gyropilot.worker import staging

    request = houses.mean_request()
    pinned = staging.pin(house, request)
    house.objects.put_bytes("data", "numbers/a.csv", b"9\n9\n9\n", "text/csv")
    with pytest.raises(InvalidData, match=r"s3://data/numbers/a\.csv"):
        staging.fetch(house, request, pinned, house.settings.scratch / "x")


def test_an_object_that_only_shares_the_prefix_text_is_not_read_outside_the_role(house):
    from gyropilot.store import roles
    from gyropilot.store.roles import Role
    from gyropilot.worker import staging

    house.objects.put_bytes("data", "numbers2/secret.csv", b"7\n", "text/csv")
    narrow = houses.ROLE + "-narrow"
    role = Role(arn=narrow, read_prefixes=("s3://data/numbers",), write_prefixes=("s3://data/out",), passable_by=("*",))
    roles.add(house.db, role)
    channel = {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://data/numbers"}}}
    pinned = staging.pin(house, houses.mean_request(AutoMLJobInputDataConfig=[channel], RoleArn=narrow))
    assert [one["key"] for one in pinned[0]] == ["numbers/a.csv"]
