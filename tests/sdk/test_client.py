import os
import sys

import pytest

import services
from gyropilot.sdk.client import Client
from gyropilot.sdk.errors import Refused, Unreachable


@pytest.fixture
def client(service):
    return service.sdk()


@pytest.mark.slow
def test_a_job_is_created_watched_and_told_about(service, client):
    # Enough steps to be seen training: progress is kept once a second.
    config = {"TextGenerationHyperParameters": {"epochCount": "4", "batchSize": "1"}}
    arn = client.create_job(services.request(service, "by-sdk", **config))
    assert arn.endswith(":automl-job/by-sdk")
    seen = list(client.watch("by-sdk", poll_seconds=0.05))
    assert seen[-1].status == "Completed"
    assert seen[-1].is_ended
    assert not any(one.is_ended for one in seen[:-1])
    training = [one for one in seen if one.phase == "training"]
    assert training, {one.phase for one in seen}
    assert {"loss", "tokens_per_second", "seconds_left"} <= training[-1].values.keys()

    events = client.events("by-sdk")
    assert [one.sequence for one in events] == list(range(1, len(events) + 1))
    assert client.events("by-sdk", after=events[-1].sequence) == []
    assert client.wait("by-sdk")["AutoMLJobStatus"] == "Completed"
    assert len(client.candidates("by-sdk")) == 1
    assert "by-sdk" in [one["AutoMLJobName"] for one in client.jobs(MaxResults=1)]


def test_no_such_job_is_refused_with_the_services_code(client):
    for ask in (client.describe, client.progress, client.events, client.log, client.stop):
        with pytest.raises(Refused) as caught:
            ask("nobody")
        assert caught.value.code == "ResourceNotFound"
        assert caught.value.status == 400


def test_a_silent_service_is_unreachable():
    client = Client(url="http://127.0.0.1:9", access_key="a", secret="b", region="us-east-1")
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
        client.describe("any")


def test_without_a_named_endpoint_nothing_goes_to_aws():
    code = (
        "from gyropilot.sdk.client import Client\n"
        "from gyropilot.sdk.errors import NotConfigured\n"
        "try: Client.from_environment()\n"
        "except NotConfigured as error: print(error)\n"
    )
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    ran = services.run([sys.executable, "-c", code], env=services.clean_environment() | keys)
    assert ran.stdout == 'AWS_ENDPOINT_URL is not set; run: eval "$(gyropilot env)"\n', ran.stderr


def test_the_environment_names_the_service(service):
    code = "from gyropilot.sdk.client import Client; print(list(Client.from_environment().jobs(NameContains='zzz')))"
    ran = services.run([sys.executable, "-c", code], env=services.clean_environment() | service.variables)
    assert ran.stdout == "[]\n", ran.stderr


def test_the_sdk_imports_nothing_else_of_ours():
    code = (
        "import sys, gyropilot.sdk.client\n"
        "print(sorted(m for m in sys.modules if m.startswith('gyropilot.') and not m.startswith('gyropilot.sdk')))"
    )
    ran = services.run([sys.executable, "-c", code], env=dict(os.environ))
    assert ran.stdout == "[]\n", ran.stderr
