"""What a caller of `tune` asks for, as it was given, and what is seen of it before anything else: its rows."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from gyropilot import clock
from gyropilot.errors import Fault, InvalidData, InvalidRequest
from gyropilot.local import model_folders
from gyropilot.local.rows import Rows, rows_of
from gyropilot.local.training import ChannelType
from gyropilot.problems.text_generation import asked_spec
from gyropilot.problems.text_generation.tuning import reading

Json = Any
_Found = TypeVar("_Found")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a caller asks for, as it was given."""

    base_model: object
    train_stream: object
    validation_streams: Mapping[str, object]
    """Rows to measure on by each name that they may be given by; None where they were not."""
    accept_eula: object
    values: Mapping[str, Json]
    """Parameters of tuning by their names; None where one was not given."""
    output: Path | None
    """Where the model is written; None: nowhere, it is kept until it is closed."""
    where: Callable[[str], str] = reading.plainly
    """Names a parameter as the caller wrote it."""

    @property
    def validation_fraction(self) -> float | None:
        """Share of the training rows that is held out; None: there are others to measure on."""
        is_given = any(stream is not None for stream in self.validation_streams.values())
        return None if is_given else asked_spec.VALIDATION_FRACTION


@dataclass(frozen=True, kw_only=True)
class Streams:
    """The rows of a wish."""

    training: Rows | None
    """None: they are not as they must be."""
    validation: Rows | None
    """None: there are none, or they are not as they must be."""

    def columns(self) -> tuple[str, ...] | None:
        """Give the columns of the training rows."""
        return None if self.training is None else self.training.columns


def streams_of(wish: Wish, folder: Path, faults: list[Fault]) -> Streams:
    """Bring the rows into files below the new folder `folder`; what is wrong goes to `faults`, as does an output folder
    that is not free.
    """
    folder.mkdir()
    output = wish.output
    if output is not None:
        gathered(faults, lambda: model_folders.check_free(output, where=wish.where("output")))
    if not isinstance(wish.accept_eula, bool):
        fix = "give true or false"
        place = wish.where("accept_eula")
        faults.append(Fault(where=place, found=wish.accept_eula, problem="is not true or false", fix=fix))
    if wish.train_stream is None:
        fix = "give rows, or the path of a CSV or Parquet file"
        faults.append(Fault(where=wish.where("train_stream"), problem="is missing", fix=fix))
    column = _task_column(wish.values)

    def rows(kind: ChannelType, name: str, stream: object) -> Rows | None:
        place = wish.where(name)
        return rows_of(stream, folder, where=place, channel_type=kind, task_column=column, faults=faults)

    training = None if wish.train_stream is None else rows("training", "train_stream", wish.train_stream)
    others = [(name, stream) for name, stream in wish.validation_streams.items() if stream is not None]
    for name, _ in others[1:]:
        problem = f"is given by {wish.where(others[0][0])} too"
        faults.append(Fault(where=wish.where(name), problem=problem, fix="give it once"))
    return Streams(training=training, validation=rows("validation", *others[0]) if others else None)


def new_name() -> str:
    """Give a name for a job."""
    return f"tune-{clock.now():%m%d-%H%M%S}-{secrets.token_hex(2)}"


def gathered(faults: list[Fault], read: Callable[[], _Found]) -> _Found | None:
    """Give what `read` does; of what it refuses the faults are kept, and None is given."""
    try:
        return read()
    except (InvalidRequest, InvalidData) as error:
        faults += error.faults
        return None


def _task_column(values: Mapping[str, Json]) -> object:
    inner = values.get(reading.TUNING_CONFIG)
    return values.get("task_column") or (inner.get("task_column") if isinstance(inner, Mapping) else None)
