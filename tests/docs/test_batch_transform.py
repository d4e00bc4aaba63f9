"""The page on batch transforms: its commands and its program run, on the text model of a job."""

import json
import re
import sys

import pytest

import doc_blocks
import services

pytestmark = pytest.mark.slow

PAGE = doc_blocks.TOP / "docs" / "batch-transform.md"


def test_the_commands_and_the_program_run(service, endpoint, tmp_path):
    ran = doc_blocks.run("batch-transform.md", service, tmp_path, replace={"my-job": endpoint})
    joined = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    assert [one["id"] for one in joined] == [1, 2]
    assert all(set(one) == {"id", "SageMakerOutput"} for one in joined)
    assert "a.jsonl: done, 2 records in" in ran.stdout
    program = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1].replace("my-job", endpoint)
    ran = services.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=services.clean_environment() | service.variables
    )
    assert ran.returncode == 0, ran.stderr
    answers = [json.loads(line) for line in ran.stdout.strip().splitlines()]
    assert [one["inputs"] for one in answers] == [f"What is {number} and {number}?" for number in range(4)]
    assert all("generated_text" in json.dumps(one["SageMakerOutput"]) for one in answers)
