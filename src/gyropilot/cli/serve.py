"""`gyropilot serve`: a process that keeps the replicas of endpoints, beside others, on PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import click

from gyropilot import settings as settings_room
from gyropilot.cli import options, processes
from gyropilot.settings import Settings


@click.command("serve")
@options.home
@click.option("--replica-memory-gib", type=click.FloatRange(0), help="Memory of one replica process in GiB.")
@click.option("--s3-endpoint", help="URL of an external S3 store, the same as that of gyropilot api.")
@options.log_level
def serve(home: Path | None, replica_memory_gib: float | None, s3_endpoint: str | None, log_level: str | None) -> None:
    """Keep the replicas of endpoints, without answering calls, until Ctrl-C.

    For several processes on one PostgreSQL database (GYROPILOT_DATABASE_URL) and one home folder, beside any number
    of gyropilot api on this machine. A second one stands by until the first ends. See docs/operations.md.
    """
    given = {
        "home": home,
        "replica_memory_gib": replica_memory_gib,
        "s3_endpoint": s3_endpoint,
        "log_level": log_level,
    }
    options.until_told_to_end(lambda: processes.serve_models(settings_room.read(given), _announce))


def _announce(settings: Settings) -> None:
    click.echo(f"gyropilot serve keeps replicas, its state is in {settings.home}")
