"""The resource classes of sagemaker-core, unmodified, against a real service, in an environment of their own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import services

HERE = Path(__file__).resolve().parent
INSTALLER = HERE.parents[1] / "tools" / "clients.py"
NAME = "by-sagemaker-core"


@pytest.fixture(scope="module")
def python():
    command = [sys.executable, INSTALLER, "sagemaker-core"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stderr
    return Path(ran.stdout.strip()) / "bin" / "python"


@pytest.mark.slow
def test_a_job_is_created_refreshed_listed_tagged_and_stopped(service, python, tmp_path):
    variables = service.variables | {"HOME": str(tmp_path)}
    command = [
        python,
        HERE / "sagemaker_core" / "jobs.py",
        NAME,
        service.variables["GYROPILOT_ROLE_ARN"],
        services.TINY,
    ]
    ran = services.run(command, env=services.clean_environment() | variables)
    assert ran.returncode == 0, ran.stderr
    seen = json.loads(ran.stdout.splitlines()[-1])
    assert seen["arn"] == seen["found"] == f"arn:aws:sagemaker:us-east-1:000000000000:automl-job/{NAME}"
    assert seen["status"] == "InProgress"
    assert seen["problem"] == services.TINY
    assert seen["created"].startswith("20")
    assert seen["tags"] == {"team": "a", "by": "core"}
    assert seen["names"] == [NAME]
    assert seen["ended"] in ("Stopped", "Completed")
    assert seen["errors"] == ["ResourceNotFound", "ResourceInUse"]


@pytest.mark.slow
def test_a_job_of_the_first_version_is_created_listed_and_stopped(service, python, tmp_path):
    name, rows = "core-of-v1", [f"{number},{'yes' if number % 3 else 'no'}" for number in range(600)]
    service.boto3("s3").put_object(Bucket="data", Key="core/rows.csv", Body="\n".join(["x,y", *rows]).encode())
    command = [
        python,
        HERE / "sagemaker_core" / "v1_jobs.py",
        name,
        service.variables["GYROPILOT_ROLE_ARN"],
        "data/core/rows.csv",
        "y",
    ]
    ran = services.run(command, env=services.clean_environment() | service.variables | {"HOME": str(tmp_path)})
    assert ran.returncode == 0, ran.stderr
    seen = json.loads(ran.stdout.splitlines()[-1])
    assert seen["arn"] == f"arn:aws:sagemaker:us-east-1:000000000000:automl-job/{name}"
    assert (seen["target"], seen["channel"]) == ("y", ["text/csv;header=present", "training"])
    assert seen["problem_type"] == ["BinaryClassification"] * 2
    assert (seen["most"], seen["encrypted"]) == (1, False)
    assert seen["listed"] == [[name, "y"]]
    assert seen["ended"] in ("Stopped", "Completed")
