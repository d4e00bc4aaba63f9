"""The programs in examples/ that need a finished job, as a user runs them."""

import sys
from pathlib import Path

import pytest

import services

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.slow
def test_a_job_is_deployed_asked_and_its_endpoint_deleted(service, endpoint):
    command = [sys.executable, EXAMPLES / "endpoint.py", endpoint, "What is 2 and 2?", "--name", "from-example"]
    ran = services.run(command, env=services.clean_environment() | service.variables)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    said = ran.stdout.split("answer:   ")[1]
    answer, streamed = said.split("\nstreamed: ")
    assert streamed == f"{answer}\ndeleted from-example\n"
