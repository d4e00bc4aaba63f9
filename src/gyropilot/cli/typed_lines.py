"""The lines that somebody types, or that a pipe brings; `gyropilot try` reads by it."""

from __future__ import annotations

import contextlib
import importlib

import click


class TypedLines:
    """Standard input, a line at a time."""

    def __init__(self, *, is_interactive: bool) -> None:
        """Where it `is_interactive` each line is asked for, with history and editing."""
        self._is_interactive = is_interactive
        if is_interactive:
            with contextlib.suppress(ImportError):
                importlib.import_module("readline")  # its mere presence gives input() history and editing

    def read(self) -> str | None:
        """Give the next line; None at the end."""
        while True:
            try:
                return input("> " if self._is_interactive else "").strip()
            except EOFError:
                self._note("")
                return None
            except KeyboardInterrupt:
                if not self._is_interactive:
                    raise
                self._note("\n/exit or Ctrl-D ends.")

    def _note(self, text: str) -> None:
        if self._is_interactive:
            click.echo(text, err=True)
