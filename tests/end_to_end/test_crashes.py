"""Nothing acknowledged is lost: kills in the middle of training end in the job that an undisturbed run gives."""

import json

import psutil
import pytest

import services

HYPERPARAMETERS = {"epochCount": "8", "batchSize": "1", "learningRate": "0.001"}


@pytest.mark.slow
def test_a_job_survives_kills_of_its_child_and_of_the_service(tmp_path, tiny_model_folder):
    # One core: the number of threads decides the last bits, and each job chooses it by what the machine does just then.
    with services.running(tmp_path / "home", checkpoint_seconds=1, lease_seconds=2, cores=1) as service:
        assert service.gyropilot("models", "add", services.TINY, tiny_model_folder).returncode == 0
        services.put_rows(service, services.rows(60))
        _create(service, "undisturbed")
        undisturbed = _losses(service, "undisturbed")
        _create(service, "disturbed")
        _wait_for_share(service, "disturbed", 0.25)
        _kill_child(service)
        _wait_for_share(service, "disturbed", 0.6)
        _kill_service(service)
        assert _losses(service, "disturbed") == undisturbed


def _create(service, name):
    service.sdk().create_job(services.request(service, name, TextGenerationHyperParameters=HYPERPARAMETERS))


def _wait_for_share(service, name, share):
    for seen in service.sdk().watch(name, poll_seconds=0.1):
        assert not seen.is_ended, f"{name} ended before it could be disturbed: {seen}"
        if seen.phase == "training" and seen.done >= share * seen.total:
            return


def _losses(service, name):
    """Wait for the job to complete, once; give its losses and those of its steps."""
    job = services.wait_until(lambda: _ended(service, name), seconds=180, what=f"{name} to end")
    assert job["AutoMLJobStatus"] == "Completed", job.get("FailureReason")
    ends = [one for one in service.sdk().events(name) if one.kind == "status" and one.message == "Completed"]
    assert len(ends) == 1
    body = service.boto3("s3").get_object(Bucket="data", Key=f"out/{name}/training.jsonl")["Body"].read()
    steps = [json.loads(line) for line in body.splitlines()]
    assert [one["step"] for one in steps] == list(range(1, len(steps) + 1)), "each step once"
    metrics = job["BestCandidate"]["CandidateProperties"]["CandidateMetrics"]
    losses = {one["StandardMetricName"]: one["Value"] for one in metrics if "Loss" in one["StandardMetricName"]}
    return losses, [one["loss"] for one in steps]


def _ended(service, name):
    job = service.boto3("sagemaker").describe_auto_ml_job_v2(AutoMLJobName=name)
    return job if job["AutoMLJobStatus"] in {"Completed", "Failed", "Stopped"} else None


def _kill_child(service):
    children = psutil.Process(service.process.pid).children(recursive=True)
    assert children
    for child in children:
        child.kill()


def _kill_service(service):
    children = psutil.Process(service.process.pid).children(recursive=True)
    service.kill()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == [], "a child outlived its service"
    service.start()
