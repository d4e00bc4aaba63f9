"""Transform jobs of the small problem type: requests as a client writes them, models, and a runner on real replicas."""

from __future__ import annotations

import gzip
import json
from contextlib import contextmanager

import houses
import mean_endpoints
import mean_gyropilot
import replica_houses
import services
from gyropilot import names
from gyropilot.control import transform_plans
from gyropilot.serve.replicas.held_processes import HeldProcesses
from gyropilot.serve.replicas.model_files import ModelFiles
from gyropilot.serve.transforms.runner import TransformRunner
from gyropilot.store import models, transform_jobs
from gyropilot.store.named_rows import NewRow
from replica_houses import wait_until

BUCKET = "data"
MODEL = "mean"


def request(name="transform", *, data="in/", kind="S3Prefix", out="out", model=MODEL, **changed):
    """A CreateTransformJob request; keys of its parts are given as keywords, as `split_type="Line"`."""
    given = {"content_type": "text/csv", "instances": 1} | changed
    source = {"DataSource": {"S3DataSource": {"S3DataType": kind, "S3Uri": f"s3://{BUCKET}/{data}"}}}
    parts = {
        "TransformInput": _named(
            given, ContentType="content_type", SplitType="split_type", CompressionType="compression"
        ),
        "TransformOutput": _named(given, Accept="accept", AssembleWith="assemble_with"),
        "DataProcessing": _named(
            given, InputFilter="input_filter", OutputFilter="output_filter", JoinSource="join_source"
        ),
        "ModelClientConfig": _named(given, InvocationsMaxRetries="retries", InvocationsTimeoutInSeconds="seconds"),
    }
    parts["TransformInput"] |= source
    parts["TransformOutput"]["S3OutputPath"] = f"s3://{BUCKET}/{out}"
    plain = _named(
        given,
        BatchStrategy="strategy",
        MaxPayloadInMB="payload",
        MaxConcurrentTransforms="concurrent",
        Environment="environment",
        Tags="tags",
    )
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": given["instances"]}
    whole = {"TransformJobName": name, "ModelName": model, "TransformResources": resources}
    return whole | plain | {part: values for part, values in parts.items() if values}


def plan(**chosen):
    return transform_plans.read(request(**chosen))


def _named(given, **names_of):
    return {name: given[key] for name, key in names_of.items() if key in given}


def add_model(house, name=MODEL, *, count=1, **chosen):
    """Put a model's data into its bucket and store a model of it, of so many containers."""
    snapshot = mean_endpoints.put_model(house, f"models/{name}.tar.gz", **chosen)
    containers = [one | {"problem": snapshot["problem"], "shares": ""} for one in snapshot["containers"]]
    arn = names.arn(region=houses.REGION, account_id=names.ACCOUNT_ID, kind="model", name=name)
    row = NewRow(account_id=names.ACCOUNT_ID, region=houses.REGION, name=name, arn=arn)
    models.create(
        house.db,
        row,
        request={"ModelName": name, "ExecutionRoleArn": houses.ROLE},
        containers=containers * count,
        tags={},
    )


@contextmanager
def running(house, *, wait_seconds=(0.1, 60.0), **chosen):
    """Run the transform jobs of a house while the block runs."""
    processes = HeldProcesses(replica_houses.room(house, **chosen))
    processes.prepare()
    runner = TransformRunner(house, processes, ModelFiles(house), mean_endpoints.SHORT, wait_seconds)
    runner.start()
    try:
        yield runner
    finally:
        runner.stop()
        processes.close(seconds=10)


def put(house, **objects):
    """Put texts, a key for each but with `__` for `/` and `_` for `.`."""
    for key, text in objects.items():
        house.objects.put_bytes(BUCKET, key.replace("__", "/").replace("_", "."), text.encode())


def put_gzip(house, key, text):
    house.objects.put_bytes(BUCKET, key, gzip.compress(text.encode()))


def get(house, key):
    return house.objects.read(BUCKET, key).decode()


def keys(house, prefix):
    return [one.key for one in house.objects.list(BUCKET, prefix)]


def record(house, name="transform"):
    return transform_jobs.find(house.db, names.ACCOUNT_ID, houses.REGION, name)


def ended(house, name="transform"):
    wait_until(lambda: record(house, name).ended_at, lambda: f"the end of {record(house, name)}")
    return record(house, name)


def completed(house, name="transform"):
    found = ended(house, name)
    assert (found.status, found.failure_reason) == ("Completed", None)
    return found


def log_of(house, name="transform"):
    folder = house.settings.logs / "transforms" / record(house, name).id
    return "".join(one.read_text() for one in sorted(folder.glob("*.log")))


def json_lines(text):
    return [json.loads(line) for line in text.splitlines()]


def train_model(service, name):
    """Train the mean of 1, 2 and 3 and make a model of it, by boto3 alone."""
    service.sdk().create_job(mean_gyropilot.mean_request(service, name))
    sagemaker = service.boto3("sagemaker")
    described = {"AutoMLJobName": name}
    services.wait_until(
        lambda: sagemaker.describe_auto_ml_job_v2(**described)["AutoMLJobStatus"] == "Completed",
        seconds=60,
        what=f"{name} to end",
    )
    containers = sagemaker.describe_auto_ml_job_v2(**described)["BestCandidate"]["InferenceContainers"]
    role = service.variables["GYROPILOT_ROLE_ARN"]
    sagemaker.create_model(ModelName=name, Containers=containers, ExecutionRoleArn=role)
