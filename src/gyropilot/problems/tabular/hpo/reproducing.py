"""Trains candidates of a job again, outside of the service: what the candidate definition notebook calls.

described (in the notebook) -> prepare: fetch the channels' files, profile them as the job did -> Prepared
Prepared, pipeline, settings -> train -> Fitted -> measure
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gyropilot.errors import InvalidData
from gyropilot.problems import tasks
from gyropilot.problems.contract import Json, LocalChannel, LocalFile, ProfileTask, Reporter
from gyropilot.problems.tabular import request, tables
from gyropilot.problems.tabular.columns import Schema, read_schema
from gyropilot.problems.tabular.hpo import fit, spaces
from gyropilot.problems.tabular.hpo.fit import Fitted, Plan
from gyropilot.problems.tabular.hpo.model import TunedModel
from gyropilot.problems.tabular.hpo.pipelines import Pipeline, pipelines_for
from gyropilot.problems.tabular.hpo.spaces import Settings
from gyropilot.problems.tabular.tables import Frame

Fetch = Callable[[str, Path], None]
"""Writes the object of an S3 URI into a file."""


class Quiet:
    """A Reporter that says nothing and asks for nothing."""

    def progress(
        self, phase: str, *, done: float, total: float, unit: str, values: Mapping[str, float] | None = None
    ) -> None:
        """Say nothing."""

    def event(self, kind: str, message: str, *, detail: Mapping[str, Json] | None = None) -> None:
        """Say nothing."""

    def stop_requested(self) -> bool:
        """Give False."""
        return False

    def hand_back_requested(self) -> bool:
        """Give False."""
        return False


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A job's rows as its candidates saw them."""

    schema: Schema
    objective: str
    training: Frame
    validation: Frame
    size_bytes: int
    seed: int
    is_held_out: bool
    """Whether the validation rows came out of the training channel."""

    @property
    def pipelines(self) -> list[Pipeline]:
        """Give the pipelines that differ on this table."""
        return pipelines_for(self.schema, ())


def described(task: ProfileTask) -> dict[str, Json]:
    """Give what `prepare` needs of a job, as JSON values without this machine's paths."""
    values = tasks.to_json(task)
    for one in [*(file for channel in values["channels"] for file in channel["files"]), *values["extra_files"]]:
        one.pop("path")
    return {name: values[name] for name in ("job_name", "spec", "channels", "extra_files", "memory_bytes")}


def prepare(
    job: Mapping[str, Json], folder: Path, fetch: Fetch, profile: Callable[..., Mapping[str, Json]]
) -> Prepared:
    """Fetch a job's files and split them into the same training and validation rows.

    Args:
        job: as `described` gave it.
        folder: for copies of the files; emptied.
        fetch: how an object is fetched.
        profile: problems.tabular.data.profile.

    Raises:
        InvalidData: an object is not what it was when the job ran.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "files").mkdir(parents=True)
    channels = tuple(_channel(one, folder / "files", fetch) for one in job["channels"])
    extra = tuple(_file(one, folder / "files", fetch) for one in job["extra_files"])
    task = ProfileTask(
        job_name=job["job_name"],
        spec=job["spec"],
        channels=channels,
        base_models=folder,
        prepared=folder / "prepared",
        output=folder / "output",
        output_uri="",
        cores=1,
        memory_bytes=job["memory_bytes"],
        extra_files=extra,
    )
    for one in (task.prepared, task.output):
        one.mkdir()
    reporter: Reporter = Quiet()
    found = profile(tasks.to_json(task), reporter)
    return read_prepared(found, job["spec"], task.prepared)


def read_prepared(profile: Mapping[str, Json], spec: Mapping[str, Json], prepared: Path) -> Prepared:
    """Give the rows that profile left in a folder."""
    schema, read = read_schema(profile["schema"]), request.read_spec(spec)
    return Prepared(
        schema=schema,
        objective=str(profile["objective"]),
        training=tables.read_prepared(prepared / tables.TRAINING_FILE, schema),
        validation=tables.read_prepared(prepared / tables.VALIDATION_FILE, schema),
        size_bytes=int(profile.get("bytes", 0)),
        seed=read.seed,
        is_held_out=read.validation_fraction is not None,
    )


def train(prepared: Prepared, pipeline: Pipeline, settings: Settings) -> Fitted:
    """Train a candidate on all folds, with no time limit."""
    plan = _plan(prepared, pipeline, settings)
    return fit.fit_rows(plan, prepared.training, prepared.validation, Quiet())


def measure(prepared: Prepared, fitted: Fitted) -> dict[str, float]:
    """Measure a candidate on the validation rows: values by StandardMetricName."""
    scored = fit.measure(
        _plan(prepared, fitted.transform.pipeline, {}),
        TunedModel(fitted.transform, fitted.algorithm),
        fitted.known,
        prepared.training,
        prepared.validation,
    )
    return {one.name: one.value for one in scored.metrics if one.split == "Validation"}


def settings_of(prepared: Prepared, pipeline: Pipeline, shown: Mapping[str, str]) -> Settings:
    """Read a candidate's settings from DescribeTrainingJob's HyperParameters, which are strings."""
    space = spaces.space_of(pipeline.algorithm, prepared.schema, prepared.objective)
    return {name: spaces.read_setting(one, shown[name]) for name, one in space.items()}


def _plan(prepared: Prepared, pipeline: Pipeline, settings: Settings) -> Plan:
    return Plan(
        schema=prepared.schema,
        objective=prepared.objective,
        pipeline=pipeline,
        settings=settings,
        history=(),
        seed=prepared.seed,
        size_bytes=prepared.size_bytes,
        is_held_out=prepared.is_held_out,
    )


def _channel(values: Mapping[str, Json], folder: Path, fetch: Fetch) -> LocalChannel:
    below = folder / str(values["channel_type"])
    below.mkdir()
    return LocalChannel(**{**values, "files": tuple(_file(one, below, fetch) for one in values["files"])})


def _file(values: Mapping[str, Json], folder: Path, fetch: Fetch) -> LocalFile:
    path = folder / f"{len(list(folder.iterdir())):05d}-{Path(values['uri']).name}"
    fetch(values["uri"], path)
    if path.stat().st_size != values["size_bytes"]:
        raise InvalidData(
            where=str(values["uri"]),
            found=f"{path.stat().st_size} bytes",
            problem=f"is not the object that the job read, which had {values['size_bytes']} bytes",
            fix="put that object back, or start a new job",
        )
    return LocalFile(path=path, **values)
