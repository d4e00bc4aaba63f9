"""Answers of a small job made by the command line, against what plain gradient boosting reaches on its table."""

import csv
import gzip
import io
import json
import sys
from pathlib import Path

import pytest

import services

TABLES = Path(__file__).resolve().parents[2] / "tools" / "tables.py"
ASKED_ROWS = 3000


@pytest.mark.slow
def test_a_small_job_of_the_command_line_answers_rows_it_has_not_seen_above_the_floor(service, tmp_path):
    name, mode, algorithm = "hr", "hyperparameter_tuning", "xgboost"
    made = services.run([sys.executable, TABLES, tmp_path, name])
    assert made.returncode == 0, made.stderr
    table = json.loads((tmp_path / name / "table.json").read_text())
    rows, truth = _asked(tmp_path / name / "test.csv", table["target"])

    training = tmp_path / f"{name}.csv.gz"
    training.write_bytes(gzip.compress((tmp_path / name / "training.csv").read_bytes()))
    options = ("--target", table["target"], "--mode", mode, "--algorithm", algorithm, "--max-candidates", "1")
    ran = service.gyropilot(
        *("jobs", "create", "--data", training, "--name", f"floor-{name}", *options, "--watch"),
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    s3 = service.boto3("s3")
    s3.put_object(Bucket="data", Key=f"floors/{name}.csv", Body=rows.encode())
    places = ("--input", f"s3://data/floors/{name}.csv", "--output", "s3://data/answers")
    ran = service.gyropilot("transform", f"floor-{name}", *places, timeout=300)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    answers = s3.get_object(Bucket="data", Key=f"answers/{name}.csv.out")["Body"].read().decode().splitlines()
    right = [one == answer for one, answer in zip(truth, answers, strict=True)]
    assert sum(right) / len(right) >= table["floor"]


def _asked(path, target):
    """Give the first rows without their target as CSV, and the target of each."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:ASKED_ROWS]
    truth = [row.pop(target) for row in rows]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(row.values() for row in rows)
    return text.getvalue(), truth
