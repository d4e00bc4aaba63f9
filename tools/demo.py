"""What `make demo` runs: a real fine-tune through boto3 against a service of its own, and what it taught.

Everything lies in .demo/: the service's home while it runs, the data set, and afterwards the artifacts. Nothing is left
running.
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
import time
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import boto3
import yaml

from gyropilot.cli.texts import duration, size
from gyropilot.log import printable

TOP = Path(__file__).resolve().parent.parent
FOLDER = TOP / ".demo"
HOME = FOLDER / "home"
GYROPILOT = Path(sys.executable).with_name("gyropilot")

BASE_MODEL = "SmolLM2-135M-Instruct"
BUCKET = "demo"
JOB = "small-talk"
ENDPOINT = "small-talk"
TOPICS = [
    *("ai", "botprofile", "conversations", "emotion", "food", "gossip", "greetings"),
    *("literature", "money", "movies", "psychology"),
]
LESSON = "The lesson: answer small talk in one short line of one's own, as the data does, and not like a help desk."
METRICS = ("ValidationLoss", "Perplexity", "Rouge1", "Rouge2", "RougeL", "RougeLSum")
ANSWERS = 3
LOWER_IS_BETTER = frozenset({"ValidationLoss", "Perplexity"})

Json = Any


def main() -> int:
    """Run the demo; give 0 when the tuned model beat the base model."""
    sys.stdout.reconfigure(line_buffering=True)  # keeps our lines in order with those of the commands we run
    started_at = time.monotonic()
    _prepare_folder()
    _say(f"Base model {BASE_MODEL}")
    subprocess.run([GYROPILOT, "models", "pull", BASE_MODEL, "--home", HOME], check=True)
    with _service() as variables:
        rows = _upload(variables)
        _say(f"A job on {rows} prompts with their answers, created with boto3")
        print(LESSON)
        _create(variables)
        # In a session of its own: Ctrl-C is for the demo, which then ends everything.
        command = [GYROPILOT, "jobs", "watch", JOB, "--home", HOME]
        watched = subprocess.run(command, check=False, start_new_session=True)
        if watched.returncode != 0:
            return _explain_failure()
        evaluation = _download(variables)
        _ask(variables, evaluation)
    _print_metrics(evaluation)
    _print_answers(evaluation)
    _print_artifacts()
    print(f"\nThe demo took {duration(time.monotonic() - started_at)}; nothing is left running.")
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
        command = [GYROPILOT, "env", "--json", "--home", HOME]
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
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
    path = FOLDER / "small-talk.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["input", "output"])
        writer.writerows(pairs)
    s3 = _client("s3", variables)
    s3.create_bucket(Bucket=BUCKET)
    s3.upload_file(str(path), BUCKET, "data/small-talk.csv")
    return len(pairs)


def _pairs() -> list[tuple[str, str]]:
    """Give the ChatterBot corpus's small talk: each prompt once, with its first answer."""
    answer_by_prompt: dict[str, tuple[str, str]] = {}
    for topic in TOPICS:
        text = files("chatterbot_corpus").joinpath(f"data/english/{topic}.yml").read_text(encoding="utf-8")
        for turns in yaml.safe_load(text)["conversations"]:
            if isinstance(turns, list) and len(turns) > 1:
                prompt, answer = (str(turn).strip() for turn in turns[:2])
                answer_by_prompt.setdefault(prompt.casefold(), (prompt, answer))
    return list(answer_by_prompt.values())


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
            "TextGenerationJobConfig": {"BaseModelName": BASE_MODEL},
        },
        ModelDeployConfig={"EndpointName": ENDPOINT},
        RoleArn=variables["GYROPILOT_ROLE_ARN"],
    )


def _ask(variables: Mapping[str, str], evaluation: Json) -> None:
    """Ask the endpoint that the job left what the model was asked when it was measured."""
    runtime = _client("sagemaker-runtime", variables)
    _say(f"The endpoint {ENDPOINT}, asked with InvokeEndpoint")
    for one in evaluation["generations"][:ANSWERS]:
        body = json.dumps({"inputs": one["input"], "parameters": {"max_new_tokens": 32}})
        started_at = time.monotonic()
        answered = runtime.invoke_endpoint(EndpointName=ENDPOINT, ContentType="application/json", Body=body)
        said = json.loads(answered["Body"].read())[0]["generated_text"]
        print(f"\n  prompt    {_line(one['input'])}")
        print(f"  answer    {_line(said)}  ({time.monotonic() - started_at:.2f} s)")


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


def _print_metrics(evaluation: Json) -> None:
    """Print base against tuned model, both measured in this run on the validation rows."""
    base, tuned = evaluation["models"]["base"], evaluation["models"]["tuned"]
    _say(f"Measured on the {tuned['validation_rows']} rows held out from training")
    print(f"{'':<16}{'base':>10}{'tuned':>10}")
    for name in METRICS:
        better = "lower is better" if name in LOWER_IS_BETTER else "higher is better"
        print(f"{name:<16}{base[name]:>10.4f}{tuned[name]:>10.4f}   {better}")
    print(evaluation["verdict"])


def _print_answers(evaluation: Json) -> None:
    """Print the first validation prompts with their answers; none is picked."""
    _say(f"The first {ANSWERS} held-out prompts, answered before and after")
    for one in evaluation["generations"][:ANSWERS]:
        print(f"\n  prompt    {_line(one['input'])}")
        print(f"  before    {_answer(one['base'])}")
        print(f"  after     {_answer(one['tuned'])}")
        print(f"  in data   {_line(one['reference'])}")


def _answer(said: Json) -> str:
    return _line(said["answer"]) + ("" if said["is_ended"] else " ...  (cut)")


def _line(text: str) -> str:
    """Give `text` on one line, fit for a terminal."""
    return printable(" ".join(text.split()))


def _is_better(evaluation: Json) -> bool:
    base, tuned = evaluation["models"]["base"], evaluation["models"]["tuned"]
    return tuned["ValidationLoss"] < base["ValidationLoss"] and tuned["RougeL"] > base["RougeL"]


def _print_artifacts() -> None:
    folder = FOLDER / "artifacts"
    _say(f"Artifacts in {folder}")
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        print(f"  {path.relative_to(folder).as_posix():<40}{size(path.stat().st_size):>10}")
    print(f"Read {folder / 'report.html'} in a browser.")


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
