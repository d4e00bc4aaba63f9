"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

home = click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of the service's state.  [default: GYROPILOT_HOME, else ~/.gyropilot]",
)

as_json = click.option("as_json", "--json", is_flag=True, help="Print JSON, for scripts.")
