"""`gyropilot jobs`: what a client can do with jobs, from the terminal; everything goes through the sdk."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import click

from gyropilot import clock
from gyropilot.cli import options, texts
from gyropilot.cli import watch as watching
from gyropilot.log import printable
from gyropilot.sdk.client import Client
from gyropilot.sdk.errors import Unreachable
from gyropilot.sdk.values import Progress

Json = Any

STATUSES = ("Completed", "Failed", "InProgress", "Stopped", "Stopping")

_HYPERPARAMETERS = {
    "epochs": "epochCount",
    "batch_size": "batchSize",
    "learning_rate": "learningRate",
    "warmup_steps": "learningRateWarmupSteps",
}
"""What a job's resolved document calls the hyperparameters, and what a request does."""

_EVENTS_SHOWN = 10
_LOG_POLL_SECONDS = 0.5


@click.group()
def jobs() -> None:
    """List, show, watch, create and stop jobs of the running service."""


@jobs.command("list")
@click.option("--status", type=click.Choice(STATUSES, case_sensitive=False), help="Only jobs in this status.")
@click.option("--name", "name_contains", metavar="TEXT", help="Only jobs whose name contains TEXT.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most this many.")
@options.home
@options.as_json
def list_jobs(status: str | None, name_contains: str | None, limit: int, home: Path | None, as_json: bool) -> None:
    """List jobs, newest first."""
    filters = {"StatusEquals": status, "NameContains": name_contains, "SortBy": "CreationTime"}
    request = {name: value for name, value in filters.items() if value is not None}
    found = list(islice(watching.connect(home).jobs(SortOrder="Descending", **request), limit + 1))
    if as_json:
        click.echo(texts.as_json(found[:limit]))
        return
    if not found:
        click.echo(_none_found(status, name_contains), err=True)
        return
    rows = [_listed(one) for one in found[:limit]]
    click.echo(texts.columns(rows, headings=("NAME", "STATUS", "PHASE", "CREATED", "TOOK")))
    if len(found) > limit:
        click.echo(
            f"There are more than {limit}; a larger --limit shows them, --name and --status pick some out.", err=True
        )


@jobs.command()
@click.argument("name")
@options.home
@options.as_json
def show(name: str, home: Path | None, as_json: bool) -> None:
    """Show a job: status, base model, metrics, artifacts, and what happened to it.

    With --json: the answer of DescribeAutoMLJobV2.
    """
    client = watching.connect(home)
    job = client.describe(name)
    if as_json:
        click.echo(texts.as_json(job))
        return
    _print_job(job, client.progress(name))
    events = client.events(name)[-_EVENTS_SHOWN:]
    if events:
        click.echo("\nLast events")
    for event in events:
        click.echo(f"  {texts.moment(event.at)}  {texts.event_line(event)}")


@jobs.command()
@click.argument("name")
@options.home
def watch(name: str, home: Path | None) -> None:
    """Follow a job with a progress line until it has ended.

    Ctrl-C ends the watching; the job goes on. A restart of the service is waited for.

    \b
    Exit codes: 0 Completed, 1 Failed, 3 Stopped, 130 watching was interrupted.
    """
    _watch_and_print(name, home)


@jobs.command()
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on printing until the job has ended.")
@options.home
def logs(name: str, follow: bool, home: Path | None) -> None:
    """Print what the job's processes wrote."""
    client = watching.connect(home)
    offset = _follow_log(name, home, 0) if follow else _print_log(client, name, 0, is_patient=False)
    if offset == 0:
        click.echo(f"the job's processes wrote nothing; see gyropilot jobs show {printable(name)}", err=True)


@jobs.command()
@click.argument("name")
@click.option("--wait", is_flag=True, help="Wait until the job has ended.")
@options.home
def stop(name: str, wait: bool, home: Path | None) -> None:
    """End a job gracefully: what was trained so far is evaluated and kept."""
    client = watching.connect(home)
    client.stop(name)
    job = client.wait(name, poll_seconds=_LOG_POLL_SECONDS) if wait else client.describe(name)
    click.echo(f"{printable(name)} is {job['AutoMLJobStatus']}.")


@jobs.command()
@click.option(
    "--request",
    "request_file",
    type=click.File(encoding="utf-8"),
    required=True,
    metavar="FILE",
    help="JSON of a CreateAutoMLJobV2 request, as the AWS CLI's --cli-input-json takes it; - reads standard input.",
)
@click.option("--watch", "is_watched", is_flag=True, help="Follow the job until it has ended, as `jobs watch` does.")
@options.home
@options.as_json
def create(request_file: TextIO, is_watched: bool, home: Path | None, as_json: bool) -> None:
    """Create a job from a request in a file."""
    request = _read_request(request_file)
    client = watching.connect(home)
    arn = client.create_job(request)
    name = arn.rpartition("/")[2]
    if as_json:
        click.echo(texts.as_json({"AutoMLJobArn": arn}))
    else:
        click.echo(f"Created {name}.  Follow it: gyropilot jobs watch {name}")
    if is_watched:
        _watch_and_print(name, home)


def _watch_and_print(name: str, home: Path | None) -> None:
    status = watching.watch(home, name)
    if status != 130:
        client = watching.connect(home)
        _print_job(client.describe(name), client.progress(name))
    sys.exit(status)


def _read_request(file: TextIO) -> dict[str, Json]:
    try:
        request = json.load(file)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"{file.name} is not JSON: {error}", param_hint="--request") from error
    if not isinstance(request, dict):
        raise click.BadParameter(f"{file.name} holds no JSON object", param_hint="--request")
    return request


def _listed(job: Mapping[str, Json]) -> tuple[str, ...]:
    return (
        job["AutoMLJobName"],
        job["AutoMLJobStatus"],
        job["AutoMLJobSecondaryStatus"],
        texts.moment(job["CreationTime"]),
        _took(job),
    )


def _took(job: Mapping[str, Json]) -> str:
    ended_at: datetime = job.get("EndTime") or clock.now()
    return texts.duration((ended_at - job["CreationTime"]).total_seconds())


def _print_job(job: Mapping[str, Json], progress: Progress) -> None:
    phase = "waiting for its turn" if progress.is_queued else job["AutoMLJobSecondaryStatus"]
    pairs = [
        ("Name", job["AutoMLJobName"]),
        ("ARN", job["AutoMLJobArn"]),
        ("Status", f"{job['AutoMLJobStatus']} ({phase})"),
        ("Problem", job.get("AutoMLProblemTypeConfigName", "")),
        ("Created", f"{texts.moment(job['CreationTime'])}, took {_took(job)}"),
        *((("Reason", job["FailureReason"]),) if "FailureReason" in job else ()),
        *(("In part", one["PartialFailureMessage"]) for one in job.get("PartialFailureReasons", ())),
        *(("Resolved", text) for text in _flattened(job.get("ResolvedAttributes", {}))),
        *_stand_in(progress.used),
        *(("Used", text) for text in _used(progress.used)),
        *(("Input", _place(channel)) for channel in job["AutoMLJobInputDataConfig"]),
        ("Output", f"{job['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{job['AutoMLJobName']}/"),
    ]
    best = job.get("BestCandidate", {})
    pairs += [("Model", one["ModelDataUrl"]) for one in best.get("InferenceContainers", ())]
    click.echo(texts.facts(pairs))
    metrics = best.get("CandidateProperties", {}).get("CandidateMetrics", ())
    if metrics:
        rows = [(one["StandardMetricName"], one["Set"], texts.number(one["Value"])) for one in metrics]
        click.echo("\n" + texts.columns(rows, headings=("METRIC", "SET", "VALUE")))


def _stand_in(spec: Mapping[str, Json]) -> list[tuple[str, str]]:
    loaded, requested = spec.get("loaded_model"), spec.get("base_model")
    return [] if loaded in (None, requested) else [("Stand-in", f"{loaded} is trained, it stands in for {requested}")]


def _used(spec: Mapping[str, Json]) -> list[str]:
    """Give the hyperparameters, one a line, and which of them the request left to the service."""
    defaulted = spec.get("defaulted", ())
    return [
        f"{key} = {spec[name]}{' (default)' if key in defaulted else ''}"
        for name, key in _HYPERPARAMETERS.items()
        if name in spec
    ]


def _place(channel: Mapping[str, Json]) -> str:
    return f"{channel.get('ChannelType', 'training')}: {channel['DataSource']['S3DataSource']['S3Uri']}"


def _flattened(value: Mapping[str, Json], path: str = "") -> list[str]:
    """Give nested attributes one a line, each by the innermost name."""
    lines = []
    for name, one in value.items():
        lines.extend(_flattened(one, name) if isinstance(one, Mapping) else [f"{name} = {one}"])
    return lines


def _none_found(status: str | None, name_contains: str | None) -> str:
    if name_contains is None and status is None:
        return "No jobs.  Create one: gyropilot jobs create --request FILE"
    which = "" if status is None else f" that is {status}"
    return f"No job{which}." if name_contains is None else f"No job{which} has {printable(name_contains)} in its name."


def _follow_log(name: str, home: Path | None, offset: int) -> int:
    """Print what comes until the job has ended, over restarts of the service."""
    is_silent = False
    for client, progress in watching.followed(home, name):
        if progress is not None:
            offset = _print_log(client, name, offset, is_patient=True)
        elif not is_silent:
            click.echo(watching.SILENCE, err=True)
        is_silent = progress is None
    return offset


def _print_log(client: Client, name: str, offset: int, *, is_patient: bool) -> int:
    """Print the log from `offset` on; give where it ends. To the patient, a silent service has nothing to say yet."""
    while True:
        try:
            part = client.log(name, offset=offset)
        except Unreachable:
            if not is_patient:
                raise
            return offset
        if not part.text:
            return offset
        click.echo(printable(part.text), nl=False)
        offset = part.next_offset
