"""Endpoints outlive the processes that serve them: `gyropilot up` is killed, and one `gyropilot serve` of two."""

from __future__ import annotations

import psutil
import pytest
from botocore.exceptions import ClientError

import mean_gyropilot
import services
from mean_gyropilot import PROGRAM, put_endpoint

pytestmark = pytest.mark.slow


def answers(service, name):
    runtime = service.boto3("sagemaker-runtime")
    try:
        answer = runtime.invoke_endpoint(EndpointName=name, Body=b"1\n", ContentType="text/csv")
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"ModelNotReadyException", "ServiceUnavailable"}:
            raise
        return False
    assert answer["Body"].read() == b"2.0\n"
    return True


def replicas_of(process):
    """The replica processes of a process of the service."""
    children = psutil.Process(process.process.pid).children(recursive=True)
    return [one for one in children if "gyropilot.engine.child" in " ".join(one.cmdline())]


def test_an_endpoint_answers_again_after_the_service_was_killed(tmp_path):
    with services.running(tmp_path / "home", program=PROGRAM, cores=1, memory_gib=1) as service:
        mean_gyropilot.put_numbers(service)
        put_endpoint(service, "mean")
        assert answers(service, "mean")
        (replica,) = replicas_of(service)
        service.kill()
        assert psutil.wait_procs([replica], timeout=30)[1] == [], "a replica outlived its service"
        service.start()
        found = service.boto3("sagemaker").describe_endpoint(EndpointName="mean")
        assert found["EndpointStatus"] == "InService"
        services.wait_until(lambda: answers(service, "mean"), seconds=30, what="the endpoint to answer again")
        (replica,) = replicas_of(service)
        assert service.stop() == 0
        assert psutil.wait_procs([replica], timeout=30)[1] == [], "a replica outlived its service"


def test_a_second_process_takes_the_replicas_over_when_the_first_is_killed(tmp_path, postgresql):
    url = postgresql.create_migrated_database()
    chosen = {"database_url": url, "program": PROGRAM, "cores": 1, "memory_gib": 1}
    with services.running_apart(tmp_path / "home", workers=1, servers=2, **chosen) as service:
        mean_gyropilot.put_numbers(service.first)
        put_endpoint(service.first, "mean")
        assert answers(service.first, "mean")
        (keeper,) = [one for one in service.servers if replicas_of(one)]
        keeper.kill()
        services.wait_until(lambda: answers(service.first, "mean"), seconds=30, what="the other one to serve")
        (other,) = [one for one in service.servers if one is not keeper]
        assert len(replicas_of(other)) == 1
        assert other.stop() == 0
        assert not answers(service.first, "mean")
    postgresql.drop_database(url)
