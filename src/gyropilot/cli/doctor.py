"""`gyropilot doctor`: looks at machine, libraries, ports, home and base models; says what to mend, changes nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import click

from gyropilot import settings as settings_file
from gyropilot.cli import options, texts
from gyropilot.cli.checkups import home as home_checkup
from gyropilot.cli.checkups import machine, ports, replicas, software
from gyropilot.cli.checkups.finding import Finding, fail, ok, warn
from gyropilot.errors import InvalidRequest
from gyropilot.log import printable
from gyropilot.settings import Settings
from gyropilot.store.database_look import Depth


@click.command()
@click.option("--deep", is_flag=True, help="Read every byte of the base models and of an SQLite database.")
@click.option(
    "output", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to tell."
)
@options.home
def doctor(deep: bool, output: str, home: Path | None) -> None:
    """Check this machine and home: ports, sandbox, libraries, disk, keys, database, base models.

    Each line says ok, warn or fail, and what to do. Nothing is changed.

    \b
    Exit codes: 0 nothing failed, 1 something did.
    """
    found = []
    for finding in _findings(home, "deep" if deep else "shallow"):
        found.append(finding)
        if output == "text":
            _print(finding)
    if output == "json":
        click.echo(texts.as_json([asdict(one) for one in found]))
    failed, warned = (sum(one.level == level for one in found) for level in ("fail", "warn"))
    if output == "text":
        click.echo(f"\n{failed} to mend, {warned} to know of, {len(found) - failed - warned} in order.")
    sys.exit(1 if failed else 0)


def _findings(home: Path | None, depth: Depth) -> Iterator[Finding]:
    settings = Settings()
    try:
        settings = settings_file.read({"home": home})
    except InvalidRequest as error:
        for fault in error.faults:
            told = replace(fault, where=fault.where.removeprefix("setting "), fix="")
            yield fail("settings", str(told), fault.fix)
        yield warn("other checks", "were left out: they need the settings", "gyropilot doctor again after that")
        return
    yield ok("settings", f"{settings.home / 'settings.toml'} and the environment are in order")
    yield from machine.check(settings)
    yield from ports.check(settings)
    yield from home_checkup.check(settings, depth)
    yield from replicas.check(settings)
    yield from software.check(settings)


def _print(finding: Finding) -> None:
    click.echo(f"{finding.level:<5} {finding.check:<14} {printable(finding.said)}")
    if finding.mend:
        click.echo(f"{'':<5} {'':<14} mend: {printable(finding.mend.removeprefix('mend '))}")
