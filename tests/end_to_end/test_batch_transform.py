"""A batch transform outlives its service: `gyropilot up` is killed in its midst, then a replica; no byte is wrong."""

from __future__ import annotations

import json

import psutil
import pytest

import mean_gyropilot
import mean_transforms
import services
from mean_gyropilot import BUCKET, PROGRAM

pytestmark = pytest.mark.slow

ROWS = [row for number in range(60) for row in (f"echo {number}", "sleep 0.05")]
ANSWERS = [f"2.0,{row}" if row.startswith("echo") else "2.0" for row in ROWS]


def replicas_of(service):
    children = psutil.Process(service.process.pid).children(recursive=True)
    return [one for one in children if "gyropilot.engine.child" in " ".join(one.cmdline())]


def answered(home, number):
    """How many records of an object are answered and noted."""
    marks = list((home / "transforms").glob(f"*/{number}.mark"))
    return json.loads(marks[0].read_text())["mark"]["records"] if marks else 0


def keys(s3, prefix):
    return [one["Key"] for one in s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", ())]


def test_a_job_goes_on_after_its_service_and_its_replica_were_killed(tmp_path):
    home = tmp_path / "home"
    with services.running(home, program=PROGRAM, cores=1, memory_gib=1) as service:
        mean_gyropilot.put_numbers(service)
        mean_transforms.train_model(service, "mean")
        s3 = service.boto3("s3")
        for key, rows in (("in/a.csv", ROWS[:1]), ("in/b.csv", ROWS), ("in/c.csv", ROWS[:2])):
            s3.put_object(Bucket=BUCKET, Key=key, Body="".join(f"{row}\n" for row in rows).encode())
        chosen = {"split_type": "Line", "assemble_with": "Line", "strategy": "SingleRecord", "model": "mean"}
        service.boto3("sagemaker").create_transform_job(**mean_transforms.request("killed", out="answers", **chosen))
        services.wait_until(lambda: answered(home, 1) > 0, seconds=60, what="records to be answered")
        service.kill()
        before = answered(home, 1)
        assert 0 < before < len(ROWS)
        service.start()
        s3, sagemaker = service.boto3("s3"), service.boto3("sagemaker")
        assert keys(s3, "answers/") == []
        services.wait_until(lambda: answered(home, 1) > before, seconds=60, what="more records to be answered")
        (replica,) = replicas_of(service)
        replica.kill()
        waiter = sagemaker.get_waiter("transform_job_completed_or_stopped")
        waiter.wait(TransformJobName="killed", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        described = sagemaker.describe_transform_job(TransformJobName="killed")
        assert described["TransformJobStatus"] == "Completed"
        assert keys(s3, "answers/") == ["answers/a.csv.out", "answers/b.csv.out", "answers/c.csv.out"]
        got = s3.get_object(Bucket=BUCKET, Key="answers/b.csv.out")["Body"].read().decode()
        assert got.splitlines() == ANSWERS
        logs = service.boto3("logs")
        group = {"logGroupName": "/aws/sagemaker/TransformJobs"}
        (stream,) = logs.describe_log_streams(**group, logStreamNamePrefix="killed/")["logStreams"]
        told = logs.get_log_events(**group, logStreamName=stream["logStreamName"], startFromHead=True)["events"]
        said = "\n".join(one["message"] for one in told)
        assert said.count("in/a.csv: begins") == said.count("in/b.csv: begins") == 1
        assert f"in/b.csv: goes on after line {before}" in said
        assert said.count("replica 0 starts") == 3
        assert list((home / "transforms").iterdir()) == []
