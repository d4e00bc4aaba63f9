"""How far something that moves bytes is: a line that moves in a terminal, a line a phase elsewhere."""

from __future__ import annotations

import sys

import click

from gyropilot.cli import texts
from gyropilot.log import printable


class ProgressLine:
    """Shows phases and their bytes on standard error; what a phase is called is up to the caller."""

    def __init__(self) -> None:
        self._phase = ""

    def __call__(self, phase: str, done: int, total: int, /) -> None:
        """Show the phase, and its bytes where they are known."""
        if not sys.stderr.isatty():
            if phase != self._phase:
                click.echo(f"{printable(phase)} ...", err=True)
        else:
            amount = f"  {texts.size(done)} of {texts.size(total)}" if done and total else ""
            click.echo(f"\r\x1b[K{printable(phase)} ...{amount}", nl=False, err=True)
        self._phase = phase

    def close(self) -> None:
        """Leave the terminal as it was found."""
        if sys.stderr.isatty():
            click.echo("\r\x1b[K", nl=False, err=True)
