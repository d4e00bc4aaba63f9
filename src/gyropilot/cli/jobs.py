"""`gyropilot jobs`: what a client can do with jobs, from the terminal; everything goes through the sdk."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import click

from gyropilot.cli import completing, job_page, job_requests, options, texts
from gyropilot.cli import watch as watching
from gyropilot.cli.job_requests import Planned, Upload, Wishes
from gyropilot.cli.progress_line import ProgressLine
from gyropilot.log import printable
from gyropilot.names import DEFAULT_ROLE_NAME
from gyropilot.sdk.client import Client
from gyropilot.sdk.errors import Unreachable
from gyropilot.sdk.objects import OnBytes

Json = Any

STATUSES = ("Completed", "Failed", "InProgress", "Stopped", "Stopping")

_EVENTS_SHOWN = 10
_LEAST_COLUMNS = 20
_LOG_POLL_SECONDS = 0.5


@click.group()
def jobs() -> None:
    """Create, list, show, watch and stop jobs of the running service, and fetch what they made."""


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
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    click.echo(
        texts.fitted_columns(
            rows,
            headings=("NAME", "STATUS", "PHASE", "CREATED", "TOOK"),
            spare=("PHASE", "TOOK", "CREATED"),
            width=max(width, _LEAST_COLUMNS),
        )
    )
    if len(found) > limit:
        click.echo(
            f"There are more than {limit}; a larger --limit shows them, --name and --status pick some out.", err=True
        )


@jobs.command()
@click.argument("name", shell_complete=completing.jobs)
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
    job_page.print_job(job, client.progress(name))
    events = client.events(name)[-_EVENTS_SHOWN:]
    if events:
        click.echo("\nLast events")
    for event in events:
        click.echo(f"  {texts.moment(event.at)}  {texts.event_line(event)}")


@jobs.command()
@click.argument("name", shell_complete=completing.jobs)
@options.home
def watch(name: str, home: Path | None) -> None:
    """Follow a job with a progress line until it has ended.

    Ctrl-C ends the watching; the job goes on. A restart of the service is waited for.

    \b
    Exit codes: 0 Completed, 1 Failed, 3 Stopped, 130 watching was interrupted.
    """
    _watch_and_print(name, home)


@jobs.command()
@click.argument("name", shell_complete=completing.jobs)
@click.option("-f", "--follow", is_flag=True, help="Go on printing until the job has ended.")
@options.home
def logs(name: str, follow: bool, home: Path | None) -> None:
    """Print what the job's processes wrote."""
    client = watching.connect(home)
    offset = _follow_log(name, home, 0) if follow else _print_log(client, name, 0, is_patient=False)
    if offset == 0:
        click.echo(f"the job's processes wrote nothing; see gyropilot jobs show {printable(name)}", err=True)


@jobs.command()
@click.argument("name", shell_complete=completing.jobs)
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
    metavar="FILE",
    help="JSON of a CreateAutoMLJobV2 request, as the AWS CLI's --cli-input-json takes it; - reads standard input."
    " No option of the request's content goes with it.",
)
@click.option(
    "--data",
    metavar="PATH|S3_URI",
    shell_complete=completing.files,
    help="Rows to train on: a CSV or Parquet file, a folder of such, or s3://.",
)
@click.option(
    "--validation",
    metavar="PATH|S3_URI",
    shell_complete=completing.files,
    help="Rows to validate on; without it some of --data are held out.",
)
@click.option(
    "--validation-fraction",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share of --data to hold out.  [default: 0.2]",
)
@click.option(
    "--format", "data_format", type=click.Choice(list(job_requests.CONTENT_TYPES)), help="Where names do not tell it."
)
@click.option(
    "--base-model",
    metavar="NAME",
    shell_complete=completing.base_models,
    help="Model to start from, of `gyropilot models list`.",
)
@click.option("--accept-eula", "accepts_eula", is_flag=True, help="Accept the licence of a gated base model.")
@click.option("--epochs", metavar="N", help="Passes over the rows.")
@click.option("--batch-size", metavar="N", help="Rows per optimizer step.")
@click.option("--learning-rate", metavar="X")
@click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    shell_complete=completing.hyperparameters,
    help="Any other key of TextGenerationHyperParameters.",
)
@click.option("--name", metavar="NAME", help="Name of the job.  [default: made from the data's name]")
@click.option(
    "--time-limit",
    metavar="TIME",
    help="Most time that the job may take, as 90m, 1h30m, 2d or seconds; what is trained by then is kept.",
)
@click.option(
    "--output", metavar="S3_URI", help="Where the job's folder goes.  [default: s3://gyropilot-ACCOUNT/output]"
)
@click.option("--role", metavar="NAME|ARN", help=f"Role of the job.  [default: {DEFAULT_ROLE_NAME}, of your account]")
@click.option("--tag", "tags", metavar="KEY=VALUE", multiple=True, help="Tag of the job; may be given again.")
@click.option("--dry-run", is_flag=True, help="Print the request and send nothing.")
@click.option("--watch", "is_watched", is_flag=True, help="Follow the job until it has ended, as `jobs watch` does.")
@options.home
@options.as_json
def create(
    request_file: TextIO | None,
    *,
    dry_run: bool,
    is_watched: bool,
    home: Path | None,
    as_json: bool,
    **wishes: Json,
) -> None:
    """Create a fine-tuning job from data and options, or any job from a request in a file.

    \b
    gyropilot jobs create --data rows.csv --base-model SmolLM2-135M-Instruct --watch
    gyropilot jobs create --request request.json

    Local data is uploaded to the service's store once, by its content. The options make the request that --dry-run
    prints; sent with --request it makes the same job.
    """
    planned = _planned(request_file, wishes, home)
    if dry_run:
        click.echo(texts.as_json(planned.request))
        return
    client = watching.connect(home)
    _upload(client, planned)
    arn = client.create_job(planned.request)
    name = planned.request["AutoMLJobName"]
    if as_json:
        click.echo(texts.as_json({"AutoMLJobArn": arn}))
    else:
        click.echo(f"Created {name}.  Follow it: gyropilot jobs watch {name}")
    if is_watched:
        _watch_and_print(name, home)


@jobs.command()
@click.argument("name", shell_complete=completing.jobs)
@click.argument("folder", metavar="[FOLDER]", required=False, type=options.Folder())
@click.option(
    "--only", metavar="PATTERN", multiple=True, help="Only artifacts of this name, as report.html or 'model/*'."
)
@click.option("--overwrite", is_flag=True, help="Replace files that have another content.")
@options.home
def download(name: str, folder: Path | None, only: tuple[str, ...], overwrite: bool, home: Path | None) -> None:
    """Fetch what a job made into FOLDER, by default one of the job's name, and check every file.

    Each file is compared with the digest that the job wrote into its manifest. An interrupted download goes on when
    the command is run again; files that are there already and right are left alone.
    """
    line = ProgressLine()
    target = folder or Path(name)
    try:
        there = watching.connect(home).download(name, target, only=only, overwrite=overwrite, on_file=line)
    except OSError as error:
        place = error.filename or target
        raise click.ClickException(
            f"{place}: {error.strerror or error}; make room, or choose another folder; what is here is kept"
        ) from error
    finally:
        line.close()
    size = sum(path.stat().st_size for path in there)
    click.echo(f"{len(there)} file{'s' if len(there) > 1 else ''}, {texts.size(size)}, in {printable(str(target))}/")


def _planned(request_file: TextIO | None, wishes: Mapping[str, Json], home: Path | None) -> Planned:
    given = [name for name, value in wishes.items() if value not in (None, (), False)]
    if request_file is not None:
        if given:
            raise click.UsageError("--request holds the whole request; give no other option of its content beside it.")
        return Planned(request=_read_request(request_file))
    if wishes["data"] is None:
        raise click.UsageError("Give --data with the rows to train on, or --request with a whole request.")
    if wishes["validation"] and wishes["validation_fraction"]:
        raise click.UsageError("Give --validation or --validation-fraction, not both.")
    limit = wishes["time_limit"]
    job_seconds = None if limit is None else job_requests.seconds(limit, "--time-limit")
    account_id = watching.connect(home).account_id()
    return job_requests.plan(
        Wishes(
            data=wishes["data"],
            bucket=job_requests.default_bucket(account_id),
            role_arn=job_requests.role_arn(wishes["role"], account_id, "--role"),
            validation=wishes["validation"],
            validation_fraction=wishes["validation_fraction"],
            format=wishes["data_format"],
            name=wishes["name"],
            base_model=wishes["base_model"],
            accepts_eula=wishes["accepts_eula"],
            hyperparameters=_hyperparameters(wishes),
            job_seconds=job_seconds,
            output=wishes["output"],
            tags=job_requests.pairs(wishes["tags"], "--tag"),
        )
    )


def _hyperparameters(wishes: Mapping[str, Json]) -> dict[str, str]:
    named = {"epochCount": "epochs", "batchSize": "batch_size", "learningRate": "learning_rate"}
    values = {key: wishes[option] for key, option in named.items() if wishes[option] is not None}
    others = job_requests.pairs(wishes["settings"], "--set")
    for key in values.keys() & others.keys():
        option = named[key].replace("_", "-")
        raise click.UsageError(f"--set {key} and --{option} say the same; give one of them.")
    return values | others


def _upload(client: Client, planned: Planned) -> None:
    """Put local files where the request says they lie; those that are there already stay as they are."""
    if planned.bucket:
        client.make_bucket(planned.bucket)
    line = ProgressLine()
    for one in planned.uploads:
        if client.size_of(one.uri) != one.size_bytes:
            _upload_one(client, one, partial(line, f"uploading {one.path.name}"))
    line.close()


def _upload_one(client: Client, one: Upload, on_bytes: OnBytes) -> None:
    try:
        client.upload(one.path, one.uri, on_bytes)
    except OSError as error:
        raise click.ClickException(f"{one.path}: {error.strerror or error}; it could not be uploaded whole") from error


def _watch_and_print(name: str, home: Path | None) -> None:
    status = watching.watch(home, name)
    if status != 130:
        client = watching.connect(home)
        job = client.describe(name)
        job_page.print_job(job, client.progress(name))
        if status == watching.EXIT_BY_STATUS["Completed"]:
            click.echo(job_page.what_next(job), err=True)
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
        job_page.phase(job),
        texts.moment(job["CreationTime"]),
        job_page.took(job),
    )


def _none_found(status: str | None, name_contains: str | None) -> str:
    if name_contains is None and status is None:
        return "No jobs.  Create one: gyropilot jobs create --data rows.csv --base-model NAME"
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
