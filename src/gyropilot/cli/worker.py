"""`gyropilot worker`: a process that works on jobs, beside others, on PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import click

from gyropilot import settings as settings_room
from gyropilot.cli import options, processes
from gyropilot.settings import Settings


@click.command("worker")
@options.home
@click.option("--jobs-at-once", type=click.IntRange(1, 4096), help="Jobs that this worker runs at the same time.")
@click.option("--s3-endpoint", help="URL of an external S3 store, the same as that of gyropilot api.")
@options.log_level
def worker(home: Path | None, jobs_at_once: int | None, s3_endpoint: str | None, log_level: str | None) -> None:
    """Work on jobs, without answering calls, until Ctrl-C.

    For several processes on one PostgreSQL database (GYROPILOT_DATABASE_URL) and one home folder: any number of
    these beside any number of gyropilot api. At its end a worker hands its jobs to the others. See docs/operations.md.
    """
    given = {"home": home, "jobs_at_once": jobs_at_once, "s3_endpoint": s3_endpoint, "log_level": log_level}
    options.until_told_to_end(lambda: processes.work(settings_room.read(given), _announce))


def _announce(settings: Settings) -> None:
    click.echo(f"gyropilot worker takes jobs, {settings.jobs_at_once} at once, its state is in {settings.home}")
