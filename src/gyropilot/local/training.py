"""Trains on files of this machine as a job does, in one child without a service; called by `tune` and the commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gyropilot.data.frames import CSV, PARQUET
from gyropilot.errors import InvalidData
from gyropilot.local import child_runs, machine
from gyropilot.local.child_runs import Tell
from gyropilot.problems import tasks
from gyropilot.problems.contract import LocalChannel, LocalFile, ProfileTask, TrainTask
from gyropilot.problems.text_generation.request import TextGenerationSpec
from gyropilot.settings import Settings

Json = Any
ChannelType = Literal["training", "validation"]
_WHOLE_RUN = "gyropilot.problems.text_generation.whole_run:run"


@dataclass(frozen=True, kw_only=True)
class Training:
    """What is to be trained, on which rows, and where its files go."""

    name: str
    spec: TextGenerationSpec
    base_models: Path
    """The base-model store that has the spec's model."""
    channels: tuple[LocalChannel, ...]
    working: Path
    """Folder of this training alone."""
    evaluation_seconds: float
    """Budget of the answers that are generated to judge the model."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a training came to."""

    output: Path
    """Folder with what a job leaves: model/, adapter/, evaluation.json and the others."""
    profile: Mapping[str, Json]
    """What was found in the rows."""
    result: Mapping[str, Json]
    """The TrainResult."""


def run(training: Training, settings: Settings, *, tell: Tell) -> Outcome:
    """Profile the rows and train in a child; the first Ctrl-C ends it early and keeps what was learned.

    Raises:
        TrainingFailed: nothing usable came out, or the rows cannot be used.
    """
    arguments = arguments_of(training, settings)
    made = child_runs.run(_WHOLE_RUN, arguments, settings, training.working / "child", tell=tell)
    return Outcome(output=training.working / "output", profile=made["profile"], result=made["result"])


def arguments_of(training: Training, settings: Settings) -> dict[str, Json]:
    """Give what the child is called with; its folders are made."""
    working = training.working
    share: dict[str, Json] = {
        "job_name": training.name,
        "spec": training.spec.to_json(),
        "base_models": training.base_models,
        "prepared": working / "prepared",
        "output_uri": f"file://{working}",
        "cores": settings.cores or machine.cores(),
        "memory_bytes": machine.job_memory_bytes(settings),
        "source_prompts": settings.source_prompts,
    }
    profile = ProfileTask(channels=training.channels, output=_made(working / "profile"), **share)
    train = TrainTask(
        candidate={"name": training.name},
        profile={},
        checkpoints=_made(working / "checkpoints"),
        output=_made(working / "output"),
        seconds_left=None,
        checkpoint_seconds=settings.checkpoint_seconds,
        evaluation_seconds=training.evaluation_seconds,
        **share,
    )
    return {"profile": tasks.to_json(profile), "train": tasks.to_json(train)}


def channel(file: Path, *, where: str, channel_type: ChannelType = "training") -> LocalChannel:
    """Give one file of rows as a channel.

    Raises:
        InvalidData: its name does not say that it is CSV or Parquet; `where` names it.
    """
    name = file.name.lower()
    kind = PARQUET if name.endswith(".parquet") else CSV if name.endswith(".csv") else ""
    if not kind:
        fix = "give a file that ends in .csv or .parquet"
        raise InvalidData(where=where, found=str(file), problem="is no file of rows", fix=fix)
    path = file.resolve()
    local = LocalFile(path=path, uri=path.as_uri(), size_bytes=path.stat().st_size, etag="")
    return LocalChannel(channel_type=channel_type, content_type=kind, compression="None", files=(local,))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
