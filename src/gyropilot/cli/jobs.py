"""`gyropilot jobs`: what a client can do with jobs, from the terminal; everything goes through the sdk."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import click

from gyropilot.cli import completing, job_page, leaderboard, options, texts
from gyropilot.cli import watch as watching
from gyropilot.cli.job_creation import create
from gyropilot.cli.progress_line import ProgressLine
from gyropilot.log import printable
from gyropilot.sdk.client import Client
from gyropilot.sdk.errors import Unreachable
from gyropilot.sdk.values import Progress

Json = Any

STATUSES = ("Completed", "Failed", "InProgress", "Stopped", "Stopping")

_EVENTS_SHOWN = 10
_LEAST_COLUMNS = 20
_LOG_POLL_SECONDS = 0.5


@click.group()
def jobs() -> None:
    """Create, list, show, watch and stop jobs of the running service, and fetch what they made."""


jobs.add_command(create)


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
    client = watching.connect(home)
    found = list(islice(client.jobs(SortOrder="Descending", **request), limit + 1))
    if as_json:
        click.echo(texts.as_json(found[:limit]))
        return
    if not found:
        click.echo(_none_found(status, name_contains), err=True)
        return
    rows = [_listed(one, client.progress(one["AutoMLJobName"])) for one in found[:limit]]
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
    """Show a job: status, metrics, artifacts, candidates by rank, and what happened to it.

    With --json: the answer of DescribeAutoMLJobV2.
    """
    client = watching.connect(home)
    job = client.describe(name)
    if as_json:
        click.echo(texts.as_json(job))
        return
    job_page.print_job(job, client.progress(name))
    events = client.events(name)
    leaderboard.print_candidates(client.candidates(name), events)
    if events:
        click.echo("\nLast events")
    for event in events[-_EVENTS_SHOWN:]:
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
    watching.watch_and_print(home, name)


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


def _listed(job: Mapping[str, Json], progress: Progress) -> tuple[str, ...]:
    return (
        job["AutoMLJobName"],
        job["AutoMLJobStatus"],
        job_page.phase(job),
        texts.moment(job["CreationTime"]),
        job_page.took(job, progress),
    )


def _none_found(status: str | None, name_contains: str | None) -> str:
    if name_contains is None and status is None:
        return "No jobs.  Create one: gyropilot jobs create --data rows.csv --base-model NAME | --target COLUMN"
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
