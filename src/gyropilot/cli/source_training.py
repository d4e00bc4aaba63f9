"""How `gyropilot prompts train` asks for a training, and shows how far it is."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import click

from gyropilot import clock
from gyropilot.cli import texts
from gyropilot.data import frames
from gyropilot.engine.engine import Message
from gyropilot.errors import InvalidData
from gyropilot.local.training import Training, arguments_of, channel
from gyropilot.log import printable
from gyropilot.problems.text_generation.request import TextGenerationSpec
from gyropilot.sdk.values import Progress
from gyropilot.settings import Settings

Json = Any
_GENERATION_SECONDS = 1.0
"""What a source prompt is judged by is its loss; answers are hardly looked at."""
_QUIET_KINDS = frozenset({"bounds", "checkpoint", "first_step", "forward"})
_PIPE_SECONDS = 10.0
_WIDTH = 100


def training_tasks(
    name: str, data: Path, spec: TextGenerationSpec, settings: Settings, working: Path
) -> dict[str, Json]:
    """Give what the child is called with, to train on one file in the folder `working`."""
    training = Training(
        name=name,
        spec=spec,
        base_models=settings.base_models,
        channels=(channel(data, where=str(data)),),
        working=working,
        evaluation_seconds=_GENERATION_SECONDS,
    )
    return {**arguments_of(training, settings), "to": str(working / "vectors.safetensors")}


def columns_of(data: Path) -> tuple[str, ...] | None:
    """Give the columns of a file of rows; None where they cannot be read, which is told once the rows are."""
    try:
        return frames.column_names(channel(data, where=str(data))) or None
    except InvalidData:
        return None


class TrainingLine:
    """Shows on standard error what the child says: a line that moves in a terminal, now and then one elsewhere."""

    def __init__(self) -> None:
        self._phase, self._shown_at = "", 0.0

    def __call__(self, message: Message) -> None:
        """Show progress, and what happened."""
        body = message.body
        if message.kind == "event" and body["kind"] not in _QUIET_KINDS:
            self.close()
            click.echo(printable(body["message"]), err=True)
        elif message.kind == "progress":
            self._show(Progress(status="InProgress", secondary_status="", **body))

    def close(self) -> None:
        """Leave the terminal as it was found."""
        if sys.stderr.isatty():
            click.echo("\r\x1b[K", nl=False, err=True)

    def _show(self, progress: Progress) -> None:
        if sys.stderr.isatty():
            width = shutil.get_terminal_size().columns - 1
            click.echo(f"\r\x1b[K{texts.progress_line(progress, width=width)}", nl=False, err=True)
        elif progress.phase != self._phase or clock.monotonic() - self._shown_at >= _PIPE_SECONDS:
            self._shown_at = clock.monotonic()
            click.echo(texts.progress_line(progress, width=_WIDTH), err=True)
        self._phase = progress.phase
