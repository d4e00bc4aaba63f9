"""`gyropilot transform`: has a model answer what lies in a bucket, through the sdk."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from gyropilot import clock
from gyropilot.cli import completing, options, texts, watch
from gyropilot.cli.progress_line import ProgressLine
from gyropilot.log import printable
from gyropilot.sdk import endpoints
from gyropilot.sdk.client import Client
from gyropilot.sdk.errors import NotDeployed, Refused

Json = Any

_LINES = "application/jsonlines"
_TYPES = {".csv": "text/csv", ".jsonl": _LINES, ".jsonlines": _LINES, ".json": "application/json"}
_CONCURRENT = 8
"""Records in work at once where each is a call of its own: a language model answers them together."""


@click.command()
@click.argument("source", metavar="MODEL_OR_JOB", shell_complete=completing.jobs)
@click.option("--input", "data", metavar="S3_URI", required=True, help="An object, or the prefix of several.")
@click.option("--output", metavar="S3_URI", required=True, help="Where each input's answers go, with .out at the end.")
@click.option("--name", metavar="NAME", help="Name of the transform.  [default: the model's or job's, and the time]")
@click.option("--content-type", metavar="TYPE", help="What the input is.  [default: by its name: .csv .jsonl .json]")
@click.option("--accept", metavar="TYPE", help="What is wanted back.  [default: what the model prefers]")
@click.option("--whole", is_flag=True, help="Send each object whole; else a line is a record.")
@click.option("--join", is_flag=True, help="Put each answer beside its record.")
@click.option("--input-filter", metavar="PATH", help="What of a record the model gets, as $[1:] or $.question.")
@click.option("--output-filter", metavar="PATH", help='What is kept, as $[0,-1] or $["id","SageMakerOutput"].')
@click.option(
    "--instances", type=click.IntRange(1, 100), default=1, show_default=True, help="How many processes answer."
)
@options.answers
@click.option("--no-wait", is_flag=True, help="Do not wait until it has ended.")
@options.home
@options.as_json
def transform(
    source: str,
    *,
    name: str | None,
    instances: int,
    answers: tuple[str, ...],
    no_wait: bool,
    home: Path | None,
    as_json: bool,
    **chosen: Json,
) -> None:
    """Have MODEL_OR_JOB answer every record below an S3 prefix, and wait until that is done.

    The best model of a job becomes a model first. Ctrl-C ends the waiting only. With --json: the answer of
    DescribeTransformJob.

    \b
    gyropilot transform my-job --input s3://data/a.jsonl --output s3://data/answers --join
    """
    client = watch.connect(home)
    request = _request(**chosen)
    model = _model(client, source, answers)
    name = name or f"{source[:44].rstrip('-')}-{clock.now():%Y%m%d-%H%M%S}"
    client.transforms.create(name, model, request, instances=instances)
    job = client.transforms.describe(name) if no_wait else _waited(client, name)
    click.echo(texts.as_json(job) if as_json else f"{printable(name)} is {job['TransformJobStatus']}.")
    if job.get("FailureReason"):
        raise click.ClickException(printable(job["FailureReason"]))


def _request(
    *,
    data: str,
    output: str,
    content_type: str | None,
    accept: str | None,
    whole: bool,
    join: bool,
    input_filter: str | None,
    output_filter: str | None,
) -> dict[str, Json]:
    kind = content_type or _TYPES.get(Path(data).suffix.lower())
    if kind is None:
        raise click.UsageError(f"{data} does not say what it holds; give --content-type, as text/csv or {_LINES}.")
    given = {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": data}}, "ContentType": kind}
    wanted = {"S3OutputPath": output} | ({"Accept": accept} if accept else {})
    request: dict[str, Json] = {}
    if not whole:
        given["SplitType"], wanted["AssembleWith"] = "Line", "Line"
        if kind != "text/csv":
            request |= {"BatchStrategy": "SingleRecord", "MaxConcurrentTransforms": _CONCURRENT}
    processing = {"InputFilter": input_filter, "OutputFilter": output_filter, "JoinSource": "Input" if join else None}
    if any(processing.values()):
        request["DataProcessing"] = {key: value for key, value in processing.items() if value}
    return {"TransformInput": given, "TransformOutput": wanted, **request}


def _model(client: Client, source: str, answers: Sequence[str]) -> str:
    """Give the name of the model that is meant: itself, or one made of the job."""
    try:
        model = str(client.endpoints.model(source)["ModelName"])
    except Refused as error:
        if not endpoints.is_missing(error):
            raise
    else:
        if answers:
            raise click.UsageError(f"--answers goes with a job; what {printable(source)} answers with is settled.")
        return model
    try:
        return client.endpoints.make_model(source, answers=answers)
    except NotDeployed as error:
        raise click.ClickException(printable(str(error))) from error
    except Refused as error:
        if not endpoints.is_missing(error):
            raise
        message = f"there is neither a model nor a job named {source}; gyropilot jobs list shows the jobs there are"
        raise click.ClickException(printable(message)) from error


def _waited(client: Client, name: str) -> Mapping[str, Json]:
    line, began_at = ProgressLine(), clock.monotonic()
    job: Mapping[str, Json] = {}
    try:
        for job in client.transforms.states(name):
            line(f"{name} is {job['TransformJobStatus']}{_since(began_at)}", 0, 0)
    except KeyboardInterrupt:
        line.close()
        message = f"stopped waiting; the transform goes on: gyropilot transforms show {name}"
        raise click.ClickException(printable(message)) from None
    finally:
        line.close()
    return job


def _since(began_at: float) -> str:
    return f", {texts.duration(clock.monotonic() - began_at)}" if sys.stderr.isatty() else ""
