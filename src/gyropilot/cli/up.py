"""`gyropilot up`: the whole service in one process."""

from __future__ import annotations

from pathlib import Path

import click

from gyropilot import settings as settings_room
from gyropilot.cli import options, processes
from gyropilot.cli.service import home_option
from gyropilot.settings import Settings


@click.command("up")
@options.home
@options.port
@options.host
@options.s3_endpoint
@options.log_level
def up(home: Path | None, port: int | None, host: str | None, s3_endpoint: str | None, log_level: str | None) -> None:
    """Start the service and stay until Ctrl-C.

    One address answers for the AutoML API and, unless --s3-endpoint is given, for S3. In another terminal run
    eval "$(gyropilot env)" and every AWS client there talks to it.
    """
    given = {"home": home, "port": port, "host": host, "s3_endpoint": s3_endpoint, "log_level": log_level}
    options.until_told_to_end(lambda: processes.serve_all(settings_room.read(given), _announce))


def _announce(settings: Settings) -> None:
    click.echo(f"gyropilot listens on http://{settings.host}:{settings.port}, its state is in {settings.home}")
    click.echo(f'In another terminal: eval "$(gyropilot env{home_option(settings)})"')
