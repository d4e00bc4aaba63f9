"""How fast endpoints of tables answer: a row by one client and by several, and many rows in a call; see `make bench`.

A service of its own trains a quick model of each mode on drawn rows and deploys it; plain boto3 asks. The last line of
each mode is the ratio: how many times the calls of one client several clients together get through.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import random
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

_GYROPILOT = Path(sys.executable).with_name("gyropilot")
_BUCKET = "bench"
_ALGORITHMS = {"ENSEMBLING": "lightgbm", "HYPERPARAMETER_TUNING": "xgboost"}
_COLORS = ("red", "green", "blue", "never seen")
_LEAST_CALLS, _WARM_CALLS = 5, 3
_GIVE_UP_SECONDS = 600

Client = Any
"""boto3 makes its clients' classes at run time."""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each measurement takes")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--rows", type=int, default=1000, help="rows of the large call")
    arguments = parser.parse_args()
    training, asked = _drawn(500, seed=1), [",".join(row[:-1]) for row in _drawn(arguments.rows, seed=2)]
    with _service():
        boto3.client("s3").create_bucket(Bucket=_BUCKET)
        for mode in _ALGORITHMS:
            endpoint = mode[:10].lower()
            _deployed(endpoint, mode, training)
            _measured(mode, endpoint, asked, arguments)
    return 0


def _drawn(count: int, *, seed: int) -> list[list[str]]:
    """Give rows of ten numbers, two categories and a day, with a class that the first of them tell."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        numbers, colors = [draw.gauss(0, 1) for _ in range(10)], [draw.choice(_COLORS[:3]) for _ in range(2)]
        answer = "yes" if numbers[0] + numbers[1] * (colors[0] == "red") + draw.gauss(0, 0.5) > 0 else "no"
        rows.append([*(f"{one:.4f}" for one in numbers), *colors, f"2024-03-{draw.randint(1, 28):02}", answer])
    return rows


@contextmanager
def _service() -> Iterator[None]:
    """Run a service on an empty folder, and point boto3 at it."""
    with tempfile.TemporaryDirectory() as home:
        process = subprocess.Popen(
            [_GYROPILOT, "up", "--home", home, "--port", "0"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            os.environ.update(_variables(home, process))
            yield
        finally:
            process.terminate()
            process.wait(60)


def _variables(home: str, process: subprocess.Popen[bytes]) -> dict[str, str]:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        told = subprocess.run([_GYROPILOT, "env", "--home", home], capture_output=True, text=True, check=False)
        if told.returncode == 0:
            words = [shlex.split(line)[-1] for line in told.stdout.splitlines() if line.startswith("export ")]
            return dict(word.split("=", 1) for word in words)
        time.sleep(0.1)
    raise SystemExit("gyropilot up did not start")


def _deployed(name: str, mode: str, training: list[list[str]]) -> None:
    """Train one quick candidate and wait for its endpoint."""
    text = io.StringIO()
    csv.writer(text).writerows([[f"column {place}" for place in range(len(training[0]) - 1)] + ["answer"], *training])
    boto3.client("s3").put_object(Bucket=_BUCKET, Key=f"{name}.csv", Body=text.getvalue().encode())
    sagemaker = boto3.client("sagemaker")
    sagemaker.create_auto_ml_job_v2(
        AutoMLJobName=name,
        AutoMLJobInputDataConfig=[
            {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{_BUCKET}/{name}.csv"}}}
        ],
        OutputDataConfig={"S3OutputPath": f"s3://{_BUCKET}/out"},
        AutoMLProblemTypeConfig={
            "TabularJobConfig": {
                "TargetAttributeName": "answer",
                "Mode": mode,
                "CandidateGenerationConfig": {"AlgorithmsConfig": [{"AutoMLAlgorithms": [_ALGORITHMS[mode]]}]},
                "CompletionCriteria": {"MaxCandidates": 1},
            }
        },
        ModelDeployConfig={"EndpointName": name},
        RoleArn=os.environ["GYROPILOT_ROLE_ARN"],
    )
    until = time.monotonic() + _GIVE_UP_SECONDS
    while (job := sagemaker.describe_auto_ml_job_v2(AutoMLJobName=name))["AutoMLJobStatus"] == "InProgress":
        if time.monotonic() > until:
            raise SystemExit(f"the job {name} takes too long")
        time.sleep(0.5)
    if job["AutoMLJobStatus"] != "Completed":
        raise SystemExit(f"the job {name} is {job['AutoMLJobStatus']}: {job.get('FailureReason')}")
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 120})


def _measured(mode: str, endpoint: str, rows: list[str], arguments: argparse.Namespace) -> None:
    runtime = boto3.client("sagemaker-runtime", config=Config(max_pool_connections=arguments.clients))
    many = "\n".join(rows)

    def one_row(number: int) -> float:
        return _seconds(runtime, endpoint, rows[number % len(rows)])

    for number in range(_WARM_CALLS):
        one_row(number)
    alone = _until(one_row, arguments.seconds)
    with ThreadPoolExecutor(arguments.clients) as pool:
        began_at = time.perf_counter()
        calls = [pool.submit(_until, one_row, arguments.seconds) for _ in range(arguments.clients)]
        together = [seconds for one in calls for seconds in one.result()]
        took = time.perf_counter() - began_at
    large = _until(lambda _: _seconds(runtime, endpoint, many), arguments.seconds)
    rate_alone, rate_together = len(alone) / sum(alone), len(together) / took
    _tell(mode, "one client", alone, calls_a_second=rate_alone)
    _tell(mode, f"{arguments.clients} clients", together, calls_a_second=rate_together)
    _tell(mode, f"{len(rows)} rows a call", large, rows_a_second=len(rows) / statistics.mean(large))
    print(f"ratio {rate_together / rate_alone:.2f}")


def _seconds(runtime: Client, endpoint: str, body: str) -> float:
    began_at = time.perf_counter()
    runtime.invoke_endpoint(EndpointName=endpoint, ContentType="text/csv", Body=body)["Body"].read()
    return time.perf_counter() - began_at


def _until(ask: Callable[[int], float], seconds: float) -> list[float]:
    """Ask again and again until `seconds` are over; give how long each call took."""
    until, taken = time.perf_counter() + seconds, []
    while len(taken) < _LEAST_CALLS or time.perf_counter() < until:
        taken.append(ask(len(taken)))
    return taken


def _tell(mode: str, measured: str, taken: list[float], **rates: float) -> None:
    ordered = sorted(taken)
    values = {
        "median_milliseconds": 1000 * statistics.median(ordered),
        "p95_milliseconds": 1000 * ordered[int(0.95 * (len(ordered) - 1))],
        **rates,
    }
    print(json.dumps({"mode": mode, "measured": measured} | {name: round(one, 1) for name, one in values.items()}))


if __name__ == "__main__":
    sys.exit(main())
