"""`gyropilot transforms`: what a client can do with batch transforms, from the terminal; all through the sdk."""

from __future__ import annotations

import difflib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import click

from gyropilot.cli import completing, options, texts, watch
from gyropilot.log import printable
from gyropilot.sdk.client import Client
from gyropilot.sdk.errors import Refused
from gyropilot.sdk.values import ENDED

Json = Any

STATUSES = ("Completed", "Failed", "InProgress", "Stopped", "Stopping")

_POLL_SECONDS = 0.5
_MOST_NAMES = 1000

transform_name = click.argument("name", metavar="TRANSFORM", shell_complete=completing.transforms)


@click.group()
def transforms() -> None:
    """List, show and stop batch transforms of the running service, and read their logs."""


@transforms.command("list")
@click.option("--status", type=click.Choice(STATUSES, case_sensitive=False), help="Only transforms in this status.")
@click.option("--name", "name_contains", metavar="TEXT", help="Only transforms whose name contains TEXT.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most this many.")
@options.home
@options.as_json
def list_transforms(
    *, status: str | None, name_contains: str | None, limit: int, home: Path | None, as_json: bool
) -> None:
    """List batch transforms, newest first."""
    filters = {"StatusEquals": status, "NameContains": name_contains}
    asked = {name: value for name, value in filters.items() if value is not None}
    found = list(islice(watch.connect(home).transforms.summaries(**asked), limit + 1))
    if as_json:
        click.echo(texts.as_json(found[:limit]))
    elif not found:
        which = " like that" if asked else " yet"
        click.echo(f"No batch transform{which}.  Make one: gyropilot transform MODEL_OR_JOB --help", err=True)
    else:
        rows = [
            (one["TransformJobName"], one["TransformJobStatus"], texts.moment(one["CreationTime"]), _took(one))
            for one in found[:limit]
        ]
        click.echo(texts.columns(rows, headings=("NAME", "STATUS", "CREATED", "TOOK")))
        if len(found) > limit:
            click.echo(f"There are more than {limit}; a larger --limit shows them.", err=True)


@transforms.command()
@transform_name
@options.home
@options.as_json
def show(name: str, home: Path | None, as_json: bool) -> None:
    """Show a batch transform: its status, the reason where it failed, its input and output.

    With --json: the answer of DescribeTransformJob.
    """
    client = watch.connect(home)
    with told(client, name):
        job = client.transforms.describe(name)
    click.echo(texts.as_json(job) if as_json else _page(job))


@transforms.command()
@transform_name
@click.option("--wait", is_flag=True, help="Wait until it has ended.")
@options.home
def stop(name: str, wait: bool, home: Path | None) -> None:
    """End a batch transform; none of its output is stored."""
    client = watch.connect(home)
    with told(client, name):
        client.transforms.stop(name)
    job = client.transforms.wait(name) if wait else client.transforms.describe(name)
    click.echo(f"{printable(name)} is {job['TransformJobStatus']}.")


@transforms.command()
@transform_name
@click.option("-f", "--follow", is_flag=True, help="Go on printing until the transform has ended.")
@options.home
def logs(name: str, follow: bool, home: Path | None) -> None:
    """Print what the transform did: each object with its records, and what its processes wrote."""
    client = watch.connect(home)
    token: str | None = None
    while True:
        with told(client, name):
            has_ended = client.transforms.describe(name)["TransformJobStatus"] in ENDED
        token = _print_log(client, name, token)
        if not follow or has_ended:
            break
        time.sleep(_POLL_SECONDS)
    if token is None:
        click.echo(f"nothing is done yet; see gyropilot transforms show {printable(name)}", err=True)


@contextmanager
def told(client: Client, name: str) -> Iterator[None]:
    """Say of a refusal that there is no such transform which there are.

    Raises:
        ClickException: there is none.
        Refused: for another reason.
    """
    try:
        yield
    except Refused as error:
        if error.code != "ResourceNotFound":
            raise
        names = [str(one["TransformJobName"]) for one in islice(client.transforms.summaries(), _MOST_NAMES)]
        near = difflib.get_close_matches(name, names, n=1)
        mend = f"did you mean {near[0]}?" if near else "gyropilot transforms list shows what there is"
        raise click.ClickException(printable(f"there is no batch transform {name}; {mend}")) from error


def _print_log(client: Client, name: str, token: str | None) -> str | None:
    while True:
        lines, following = client.transforms.log(name, token=token)
        for line in lines:
            click.echo(printable(line))
        if following == token:
            return token
        token = following


def _took(job: Mapping[str, Json]) -> str:
    ended = job.get("TransformEndTime")
    return "" if ended is None else texts.duration((ended - job["CreationTime"]).total_seconds())


def _page(job: Mapping[str, Json]) -> str:
    given, wanted = job["TransformInput"], job["TransformOutput"]
    ended = job.get("TransformEndTime")
    reason, processing = job.get("FailureReason"), job["DataProcessing"]
    pairs = [
        ("Name", job["TransformJobName"]),
        ("ARN", job["TransformJobArn"]),
        ("Status", job["TransformJobStatus"]),
        *([("Reason", reason)] if reason else []),
        ("Created", texts.moment(job["CreationTime"])),
        *([("Ended", f"{texts.moment(ended)}, after {_took(job)}")] if ended else []),
        ("Model", job["ModelName"]),
        ("Input", f"{given['DataSource']['S3DataSource']['S3Uri']}{_of_type(given.get('ContentType'))}"),
        ("Split", given["SplitType"]),
        ("Output", f"{wanted['S3OutputPath']}{_of_type(wanted.get('Accept'))}"),
        ("Filters", f"input {processing['InputFilter']}, output {processing['OutputFilter']}"),
        ("Joined", processing["JoinSource"]),
    ]
    return texts.facts(pairs)


def _of_type(content_type: str | None) -> str:
    return f" as {content_type}" if content_type else ""
