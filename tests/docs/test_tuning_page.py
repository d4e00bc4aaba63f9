"""The program and the commands of the page on tuning, as a reader would run them, on the tiny model."""

import csv
import json
import re
import sys

import pytest

import doc_blocks
import services

PAGE = doc_blocks.TOP / "docs" / "problems" / "tuning.md"


@pytest.mark.slow
def test_the_program_of_the_tuning_page_runs(service, tmp_path):
    found = re.search(
        r"<!-- run in tests/docs/test_tuning_page.py -->\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL
    )
    program = found[1].replace("SmolLM2-135M-Instruct", services.TINY).replace("num_epochs=20", "num_epochs=2")
    home = {"GYROPILOT_HOME": str(service.home)}
    # A program that starts processes is a file, as a reader's is.
    (tmp_path / "program.py").write_text(program)
    ran = services.run([sys.executable, "program.py"], cwd=tmp_path, env=services.clean_environment() | home)
    assert ran.returncode == 0, ran.stderr
    assert "training" in ran.stderr
    assert (tmp_path / "complaints" / "caikit" / "config.yml").is_file()


@pytest.mark.slow
def test_the_commands_of_the_tuning_page_run(service, tmp_path):
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("input", "output"), *services.rows(16)])
    quick = {"SmolLM2-135M-Instruct": services.TINY, "--num-epochs 5": "--num-epochs 1 --lr 0.05"}
    doc_blocks.run("problems/tuning.md", service, tmp_path, replace=quick)
    assert json.loads((tmp_path / "adapted.json").read_text())["hyperparameters"]["tuningType"] == "LORA"
    for name in ("prompted", "adapted", "configured", "served"):
        assert (tmp_path / name / "gyropilot-serving.json").is_file()
