"""How `gyropilot prompts train` asks for a training, and shows how far it is."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import click

from gyropilot import clock
from gyropilot.cli import job_requests, machine, texts
from gyropilot.engine.engine import Message
from gyropilot.errors import InvalidData
from gyropilot.log import printable
from gyropilot.problems import tasks
from gyropilot.problems.contract import LocalChannel, LocalFile, ProfileTask, TrainTask
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
    size = data.stat().st_size
    file = LocalFile(path=data.resolve(), uri=data.resolve().as_uri(), size_bytes=size, etag="")
    share: dict[str, Json] = {
        "job_name": name,
        "spec": spec.to_json(),
        "base_models": settings.base_models,
        "prepared": working / "prepared",
        "output_uri": f"file://{working}",
        "cores": settings.cores or machine.cores(),
        "memory_bytes": machine.job_memory_bytes(settings),
    }
    profile = ProfileTask(channels=(_channel(data, file),), output=_made(working / "profile"), **share)
    train = TrainTask(
        candidate={"name": name},
        profile={},
        checkpoints=_made(working / "checkpoints"),
        output=_made(working / "output"),
        seconds_left=None,
        checkpoint_seconds=settings.checkpoint_seconds,
        evaluation_seconds=_GENERATION_SECONDS,
        **share,
    )
    return {
        "profile": tasks.to_json(profile),
        "train": tasks.to_json(train),
        "to": str(working / "vectors.safetensors"),
    }


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


def _channel(data: Path, file: LocalFile) -> LocalChannel:
    name = data.name.lower()
    is_gzip = name.endswith(".gz")
    kind = "parquet" if name.endswith(".parquet") else "csv" if name.removesuffix(".gz").endswith(".csv") else ""
    if not kind:
        raise InvalidData(
            where=str(data), problem="is no file of rows", fix="give a file that ends in .csv, .csv.gz or .parquet"
        )
    return LocalChannel(
        channel_type="training",
        content_type=job_requests.CONTENT_TYPES[kind],
        compression="Gzip" if is_gzip else "None",
        files=(file,),
    )


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
