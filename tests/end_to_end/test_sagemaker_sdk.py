"""The SageMaker Python SDK 2.x, unmodified, against a real service, in an environment of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import services

HERE = Path(__file__).resolve().parent
INSTALLER = HERE.parents[1] / "tools" / "clients.py"


@pytest.fixture(scope="module")
def python():
    command = [sys.executable, INSTALLER, "sagemaker-sdk"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stderr
    return Path(ran.stdout.strip()) / "bin" / "python"


@pytest.mark.slow
def test_fit_deploy_predict_transform_and_delete(service, python, tmp_path):
    name = "by-sagemaker-sdk"
    rows = tmp_path / "rows.csv"
    lines = [f'"{question}","{answer}"' for question, answer in services.rows(40)]
    rows.write_text("\n".join(["input,output", *lines]) + "\n")
    # The role by its bare name: the SDK asks IAM for its ARN.
    command = [python, HERE / "sagemaker_sdk" / "autopilot.py", name, "gyropilot", services.TINY, rows]
    ran = services.run(
        command, env=services.clean_environment() | service.variables | {"HOME": str(tmp_path)}, timeout=400
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    seen = json.loads(ran.stdout.splitlines()[-1])
    assert seen["bucket"] == "sagemaker-us-east-1-000000000000"
    assert seen["job"] == ["Completed", "TextGeneration"]
    assert seen["candidates"] == [seen["best"]] == [seen["attached"]]
    assert list(seen["answer"][0]) == ["generated_text"]
    assert seen["same"]
    assert [json.loads(line) for line in seen["transformed"]] == [seen["answer"]] * 2
    assert seen["left"] == []
