"""Options that several commands share, and how those end that stay."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path

import click


class Folder(click.Path):
    """A folder, there or not; an empty text, which would be the current one, is none."""

    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def convert(
        self, value: str | PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | PathLike[str]:
        """Give the path; refuse what no folder can be."""
        if str(value) == "":
            self.fail("an empty text is no folder; write . for the current one", param, ctx)
        return super().convert(value, param, ctx)


home = click.option(
    "--home",
    type=Folder(),
    metavar="DIR",
    help="Folder of the service's state.  [default: GYROPILOT_HOME, else ~/.gyropilot]",
)

port = click.option(
    "--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one. [default: 8747]"
)

host = click.option("--host", help="Loopback address to listen on, or localhost. [default: 127.0.0.1]")

s3_endpoint = click.option("--s3-endpoint", help="URL of an external S3 store; the embedded one is off then.")

log_level = click.option("--log-level", type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False))

answers = click.option(
    "--answers",
    metavar="KEYS",
    callback=lambda _context, _option, given: tuple(one.strip() for one in (given or "").split(",") if one.strip()),
    help="What the model of a table answers with, as predicted_label,probability,probabilities,labels.",
)

as_json = click.option("as_json", "--json", is_flag=True, help="Print JSON, for scripts.")


def until_told_to_end(run: Callable[[], None]) -> None:
    """Run what stays until a signal ends it, be it before it is up."""
    try:
        run()
    except KeyboardInterrupt:
        click.echo(err=True)
    click.echo("stopped")
