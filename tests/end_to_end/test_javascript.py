"""The JavaScript SDK, unmodified, against a real service; the environment is what `gyropilot env` prints."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import services

HERE = Path(__file__).resolve().parent
INSTALLER = HERE.parents[1] / "tools" / "clients.py"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="node and npm are not on the path"),
]


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """A folder of programs from which node finds the SDK."""
    ran = subprocess.run(
        [sys.executable, INSTALLER, "javascript"], capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr
    folder = tmp_path_factory.mktemp("javascript")
    (folder / "node_modules").symlink_to(Path(ran.stdout.strip()) / "node_modules")
    for name in ("jobs.mjs", "endpoint.mjs", "package.json"):
        shutil.copy(HERE / "javascript" / name, folder / name)
    return folder


def test_a_job_is_created_described_listed_tagged_and_stopped(service, programs):
    hyperparameters = {"epochCount": "10", "batchSize": "1"}
    request = services.request(service, TextGenerationHyperParameters=hyperparameters)
    for earlier in ("script-one", "script-two"):
        service.boto3("sagemaker").create_auto_ml_job_v2(**request | {"AutoMLJobName": earlier})
        service.boto3("sagemaker").stop_auto_ml_job(AutoMLJobName=earlier)
    environment = services.clean_environment() | service.variables
    ran = services.run(["node", programs / "jobs.mjs", "by-javascript", json.dumps(request)], env=environment)
    assert ran.returncode == 0, ran.stderr
    arn = "arn:aws:sagemaker:us-east-1:000000000000:automl-job/by-javascript"
    assert json.loads(ran.stdout) == {
        "object": "written by node",
        "keys": ["from-javascript/ü b.txt"],
        "account": "000000000000",
        "arn": arn,
        "problem": request["AutoMLProblemTypeConfig"],
        "created": True,
        "names": ["script-one", "script-two", "by-javascript"],
        "tags": [{"Key": "by", "Value": "node"}],
        "status": "Stopped",
        "errors": [["ResourceNotFound", 400, True], ["ResourceInUse", 400, True], ["ValidationException", 400, True]],
    }


def test_an_endpoint_is_asked_at_once_and_part_by_part(service, endpoint, programs):
    payload = {"inputs": "What is 2 and 2?", "parameters": {"max_new_tokens": 8}}
    environment = services.clean_environment() | service.variables
    ran = services.run(["node", programs / "endpoint.mjs", endpoint, json.dumps(payload)], env=environment)
    assert ran.returncode == 0, ran.stderr
    seen = json.loads(ran.stdout)
    assert (seen["status"], seen["variant"], seen["type"]) == ("InService", "AllTraffic", "application/json")
    (answer,) = seen["answer"]
    lines = [json.loads(line.removeprefix("data:")) for line in seen["streamed"].splitlines() if line]
    assert lines[-1]["generated_text"] == answer["generated_text"]
    assert "".join(line["token"]["text"] for line in lines if not line["token"]["special"]) == answer["generated_text"]
    assert seen["parts"] > 1
    assert seen["errors"] == [["ValidationError", 400, None], ["ModelError", 424, 400]]
