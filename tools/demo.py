"""What `make demo` runs: a real fine-tune through boto3 against a service of its own, and what it taught.

Everything lies in .demo/: the service's home while it runs, the data set, and afterwards the artifacts. Nothing is left running.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import boto3
import yaml

TOP = Path(__file__).resolve().parent.parent
FOLDER = TOP / ".demo"
HOME = FOLDER / "home"
GYROPILOT = Path(sys.executable).with_name("gyropilot")

BASE_MODEL = "SmolLM2-135M-Instruct"
BUCKET = "demo"
JOB = "trivia"
LESSON = "The lesson: answer a trivia question with the answer alone, as the data does, and not with a paragraph."
HYPERPARAMETERS = {"epochCount": "4", "batchSize": "8", "learningRate": "0.0005", "learningRateWarmupSteps": "10"}
METRICS = ("ValidationLoss", "Perplexity", "Rouge1", "Rouge2", "RougeL", "RougeLSum")
LOWER_IS_BETTER = frozenset({"ValidationLoss", "Perplexity"})

Json = Any


def main() -> int:
    """Run the demo; give 0 when the tuned model beat the base model."""
    started_at = time.monotonic()
    _prepare_folder()
    _say(f"Base model {BASE_MODEL}")
    subprocess.run([GYROPILOT, "models", "pull", BASE_MODEL, "--home", HOME], check=True)
    with _service() as variables:
        rows = _upload(variables)
        _say(f"A job on {rows} question and answer pairs, created with boto3")
        print(LESSON)
        _create(variables)
        watched = subprocess.run([GYROPILOT, "jobs", "watch", JOB, "--home", HOME], check=False)
        if watched.returncode != 0:
            return _explain_failure()
        evaluation = _download(variables)
    _print_metrics(evaluation)
    _print_answers(evaluation)
    _say("Artifacts")
    print(_tree(FOLDER / "artifacts"))
    print(f"\nThe report: {FOLDER / 'artifacts' / 'report.html'}")
    print(f"The demo took {time.monotonic() - started_at:.0f} s; nothing is left running.")
    return 0 if _is_better(evaluation) else 1


def _prepare_folder() -> None:
    """Empty the demo's folder but for the base model, which is worth keeping."""
    HOME.mkdir(parents=True, exist_ok=True)
    for one in [*HOME.iterdir(), FOLDER / "artifacts"]:
        if one.is_dir() and one.name != "base_models":
            shutil.rmtree(one)
        elif one.is_file():
            one.unlink()


@contextlib.contextmanager
def _service() -> Iterator[Mapping[str, str]]:
    """Start a service on a free port and give its variables; end it whatever happens."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    with (FOLDER / "service.log").open("wb") as log:
        process = subprocess.Popen(
            [GYROPILOT, "up", "--home", HOME, "--port", "0"], stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield _variables(process)
        finally:
            _end(process)


def _variables(process: subprocess.Popen[bytes]) -> Mapping[str, str]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        asked = subprocess.run([GYROPILOT, "env", "--json", "--home", HOME], capture_output=True, text=True, check=False)
        if asked.returncode == 0:
            found: dict[str, str] = json.loads(asked.stdout)
            _say(f"The service listens on {found['AWS_ENDPOINT_URL']}")
            return found
        time.sleep(0.2)
    raise SystemExit(f"the service did not start:\n{(FOLDER / 'service.log').read_text(errors='replace')}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _upload(variables: Mapping[str, str]) -> int:
    """Write the data set as a CSV and put it into the service's S3; give its number of rows."""
    pairs = _pairs()
    path = FOLDER / "trivia.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["input", "output"])
        writer.writerows(pairs)
    s3 = _client("s3", variables)
    s3.create_bucket(Bucket=BUCKET)
    s3.upload_file(str(path), BUCKET, "data/trivia.csv")
    return len(pairs)


def _pairs() -> list[tuple[str, str]]:
    text = files("chatterbot_corpus").joinpath("data/english/trivia.yml").read_text(encoding="utf-8")
    conversations = yaml.safe_load(text)["conversations"]
    pairs = [tuple(str(turn).strip() for turn in one) for one in conversations if isinstance(one, list)]
    return [(pair[0], pair[1]) for pair in dict.fromkeys(pairs) if len(pair) == 2]


def _create(variables: Mapping[str, str]) -> None:
    _client("sagemaker", variables).create_auto_ml_job_v2(
        AutoMLJobName=JOB,
        AutoMLJobInputDataConfig=[
            {
                "ChannelType": "training",
                "ContentType": "text/csv;header=present",
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/data/"}},
            }
        ],
        OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/output"},
        AutoMLProblemTypeConfig={
            "TextGenerationJobConfig": {
                "BaseModelName": BASE_MODEL,
                "TextGenerationHyperParameters": HYPERPARAMETERS,
            }
        },
        RoleArn=variables["GYROPILOT_ROLE_ARN"],
    )


def _download(variables: Mapping[str, str]) -> Json:
    """Fetch every artifact of the job; give evaluation.json."""
    s3 = _client("s3", variables)
    prefix = f"output/{JOB}/"
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix):
        for one in page["Contents"]:
            target = FOLDER / "artifacts" / one["Key"].removeprefix(prefix)
            target.parent.mkdir(parents=True, exist_ok=True)
            s3.download_file(BUCKET, one["Key"], str(target))
    return json.loads((FOLDER / "artifacts" / "evaluation.json").read_text(encoding="utf-8"))


def _client(service: str, variables: Mapping[str, str]) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
    return boto3.client(
        service,
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        region_name=variables["AWS_REGION"],
    )


def _explain_failure() -> int:
    print("The job did not complete; its log:")
    subprocess.run([GYROPILOT, "jobs", "logs", JOB, "--home", HOME], check=False)
    print(f"The service's log: {FOLDER / 'service.log'}")
    return 1


def _say(heading: str) -> None:
    print(f"\n== {heading}", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted; nothing is left running")
