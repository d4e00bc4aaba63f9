"""Tasks and results as JSON: how they travel between the worker and a child process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path

from gyropilot.problems.contract import (
    Container,
    Json,
    LocalChannel,
    LocalFile,
    Metric,
    ProfileTask,
    ReportResult,
    ReportTask,
    TrainResult,
    TrainTask,
)


def to_json(value: ProfileTask | TrainTask | TrainResult | ReportTask | ReportResult) -> dict[str, Json]:
    """Give a task or a result as JSON values; paths become strings."""
    written = _written(value)
    assert isinstance(written, dict)
    return written


def profile_task(values: Mapping[str, Json]) -> ProfileTask:
    """Read what `to_json` gave for a ProfileTask."""
    return ProfileTask(
        **{
            **values,
            "channels": tuple(_channel(one) for one in values["channels"]),
            "base_models": Path(values["base_models"]),
            "prepared": Path(values["prepared"]),
            "output": Path(values["output"]),
            "extra_files": tuple(_file(one) for one in values["extra_files"]),
            "source_prompts": _path(values.get("source_prompts")),
        }
    )


def train_task(values: Mapping[str, Json]) -> TrainTask:
    """Read what `to_json` gave for a TrainTask."""
    folders = ("base_models", "prepared", "checkpoints", "output")
    paths = {name: Path(values[name]) for name in folders}
    return TrainTask(**{**values, **paths, "source_prompts": _path(values.get("source_prompts"))})


def report_task(values: Mapping[str, Json]) -> ReportTask:
    """Read what `to_json` gave for a ReportTask."""
    folders = ("model", "prepared", "output")
    paths = {name: Path(values[name]) for name in folders}
    return ReportTask(**{**values, **paths, "candidates": tuple(values.get("candidates", ()))})


def train_result(values: Mapping[str, Json]) -> TrainResult:
    """Read what `to_json` gave for a TrainResult."""
    return TrainResult(
        **{
            **values,
            "metrics": tuple(Metric(**one) for one in values["metrics"]),
            "containers": tuple(Container(**one) for one in values["containers"]),
        }
    )


def _path(value: str | None) -> Path | None:
    return None if value is None else Path(value)


def _channel(values: Mapping[str, Json]) -> LocalChannel:
    return LocalChannel(**{**values, "files": tuple(_file(one) for one in values["files"])})


def _file(values: Mapping[str, Json]) -> LocalFile:
    return LocalFile(**{**values, "path": Path(values["path"])})


def _written(value: object) -> Json:
    if is_dataclass(value):
        return {one.name: _written(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _written(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_written(item) for item in value]
    return str(value) if isinstance(value, Path) else value
