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
def program(tmp_path_factory):
    """The program in a folder from which node finds the SDK."""
    ran = subprocess.run(
        [sys.executable, INSTALLER, "javascript"], capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr
    folder = tmp_path_factory.mktemp("javascript")
    (folder / "node_modules").symlink_to(Path(ran.stdout.strip()) / "node_modules")
    for name in ("jobs.mjs", "package.json"):
        shutil.copy(HERE / "javascript" / name, folder / name)
    return folder / "jobs.mjs"


def test_a_job_is_created_described_listed_tagged_and_stopped(service, program):
    hyperparameters = {"epochCount": "10", "batchSize": "1"}
    request = services.request(service, TextGenerationHyperParameters=hyperparameters)
    for earlier in ("script-one", "script-two"):
        service.boto3("sagemaker").create_auto_ml_job_v2(**request | {"AutoMLJobName": earlier})
        service.boto3("sagemaker").stop_auto_ml_job(AutoMLJobName=earlier)
    environment = services.clean_environment() | service.variables
    ran = services.run(["node", program, "by-javascript", json.dumps(request)], env=environment)
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
