"""`gyropilot api`: a process that answers calls, beside others, on PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import click

from gyropilot import settings as settings_room
from gyropilot.cli import options, processes
from gyropilot.cli.service import home_option
from gyropilot.settings import Settings


@click.command("api")
@options.home
@options.port
@options.host
@options.s3_endpoint
@options.log_level
def api(home: Path | None, port: int | None, host: str | None, s3_endpoint: str | None, log_level: str | None) -> None:
    """Answer calls, without working on jobs, until Ctrl-C.

    For several processes on one PostgreSQL database (GYROPILOT_DATABASE_URL) and one home folder: any number of
    these, each on a port of its own, beside any number of gyropilot worker. See docs/operations.md.
    """
    given = {"home": home, "port": port, "host": host, "s3_endpoint": s3_endpoint, "log_level": log_level}
    options.until_told_to_end(lambda: processes.serve_api(settings_room.read(given), _announce))


def _announce(settings: Settings) -> None:
    click.echo(f"gyropilot api listens on http://{settings.host}:{settings.port}, its state is in {settings.home}")
    click.echo(f'In another terminal: eval "$(gyropilot env{home_option(settings)})"')
