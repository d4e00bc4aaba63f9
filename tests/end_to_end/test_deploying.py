"""A job that deploys its model, in a real service: from its create request to an answer, over a kill of the service."""

from __future__ import annotations

import pytest

import mean_gyropilot
import services
from mean_gyropilot import PROGRAM, mean_request

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    home = tmp_path_factory.mktemp("deploying") / "home"
    with services.running(home, program=PROGRAM, cores=1, memory_gib=1) as service:
        mean_gyropilot.put_numbers(service)
        yield service


def create(service, name, config, **tags):
    request = mean_request(service, name, **tags) | {"ModelDeployConfig": config}
    service.boto3("sagemaker").create_auto_ml_job_v2(**request)


def described(service, name):
    return service.boto3("sagemaker").describe_auto_ml_job_v2(AutoMLJobName=name)


def ended(service, name):
    job = None

    def has_ended():
        nonlocal job
        job = described(service, name)
        return "EndTime" in job

    services.wait_until(has_ended, seconds=60, what=lambda: f"the end of {job}")
    return job


def test_a_job_that_is_killed_while_it_deploys_ends_with_one_endpoint_that_answers(service):
    create(service, "kept", {"AutoGenerateEndpointName": True})
    services.wait_until(
        lambda: described(service, "kept")["AutoMLJobSecondaryStatus"] == "DeployingModel",
        seconds=30,
        what="DeployingModel",
    )
    service.kill()
    service.start()
    job = ended(service, "kept")
    assert (job["AutoMLJobStatus"], job["AutoMLJobSecondaryStatus"]) == ("Completed", "Completed")
    name = job["ModelDeployResult"]["EndpointName"]
    assert name.startswith("kept-")
    sagemaker = service.boto3("sagemaker")
    assert [one["EndpointName"] for one in sagemaker.list_endpoints()["Endpoints"]] == [name]
    assert sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "InService"
    answer = service.boto3("sagemaker-runtime").invoke_endpoint(EndpointName=name, Body=b"1\n", ContentType="text/csv")
    assert answer["Body"].read() == b"2.0\n"
    assert f"Endpoint  {name}" in service.gyropilot("jobs", "show", "kept").stdout
    statuses = [event.message for event in service.sdk().events("kept") if event.kind == "status"]
    assert statuses.count("Completed") == statuses.count("InProgress: DeployingModel") == 1


def test_what_the_endpoint_prints_is_read_from_cloudwatch_logs(service):
    logs = service.boto3("logs")
    (endpoint,) = service.boto3("sagemaker").list_endpoints(NameContains="kept")["Endpoints"]
    group = f"/aws/sagemaker/Endpoints/{endpoint['EndpointName']}"
    assert group in [one["logGroupName"] for one in logs.describe_log_groups()["logGroups"]]
    (stream,) = logs.describe_log_streams(logGroupName=group)["logStreams"]
    assert stream["logStreamName"] == "AllTraffic/1"
    events = logs.get_log_events(logGroupName=group, logStreamName="AllTraffic/1")["events"]
    assert any("is ready" in event["message"] for event in events)


def test_a_model_that_cannot_be_served_leaves_its_job_completed_and_says_why(service):
    create(service, "lost", {"EndpointName": "cannot"}, fault="not servable")
    job = ended(service, "lost")
    assert (job["AutoMLJobStatus"], job["AutoMLJobSecondaryStatus"]) == ("Completed", "ModelDeploymentError")
    assert job["ModelDeployResult"] == {}
    assert "the folder is not whole" in job["PartialFailureReasons"][0]["PartialFailureMessage"]
    assert job["BestCandidate"]["CandidateStatus"] == "Completed"
    shown = service.gyropilot("jobs", "show", "lost").stdout
    assert "Completed (ModelDeploymentError)" in shown
    assert "The model was not deployed: The endpoint cannot could not be started" in shown
    with pytest.raises(service.boto3("sagemaker").exceptions.ClientError, match="an endpoint of this account has this"):
        create(service, "again", {"EndpointName": "CANNOT"})
