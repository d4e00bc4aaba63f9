"""The programs in examples/ that need a finished job or no service, as a user runs them."""

import csv
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


@pytest.mark.slow
def test_a_prompt_is_tuned_asked_saved_and_loaded(tmp_path, tiny_model_folder):
    with (tmp_path / "data.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("input", "output"), *services.rows(16)])
    options = ["--base-model", tiny_model_folder, "--epochs", "1", "--virtual-tokens", "4", "--length", "6"]
    command = [sys.executable, EXAMPLES / "prompt_tuning.py", "data.csv", "What is 2 and 2?", *options]
    home = {"GYROPILOT_HOME": str(tmp_path / "home")}
    ran = services.run(command, cwd=tmp_path, env=services.clean_environment() | home)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.endswith("loaded:   the same answer\n")
    answer, streamed = ran.stdout.partition("answer:   ")[2].split("\nstreamed: ")
    assert streamed.startswith(f"{answer}\nended by: ")
    assert (tmp_path / "tuned" / "adapter" / "prompt.safetensors").is_file()
