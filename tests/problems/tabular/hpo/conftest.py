"""One job of each problem type, profiled and with one trained candidate, shared by the tests of tuning."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from gyropilot.problems import tasks
from gyropilot.problems.contract import LocalChannel, LocalFile, ProfileTask, TrainResult, TrainTask
from gyropilot.problems.tabular import artifacts, data
from gyropilot.problems.tabular.hpo import fit, search
from gyropilot.problems.tabular.hpo.reproducing import Quiet
from mixed_tables import KINDS, spec_of, write_csv

OBJECTIVES = {"BinaryClassification": "F1", "MulticlassClassification": "F1macro", "Regression": "RMSE"}


@dataclass
class Job:
    """A job as far as it went."""

    folder: Path
    spec: object
    task: ProfileTask
    profile: dict

    def search(self):
        return search.open_search(self.spec, self.profile)

    def train_task(self, candidate, name, **changes):
        folders = {key: self.folder / name / key for key in ("checkpoints", "output")}
        for one in folders.values():
            one.mkdir(parents=True, exist_ok=True)
        given = {
            "job_name": "tuned-job",
            "spec": self.spec.to_json(),
            "candidate": json.loads(json.dumps(candidate)),
            "profile": json.loads(json.dumps(self.profile)),
            "base_models": self.folder,
            "prepared": self.task.prepared,
            "output_uri": "s3://bucket/tuned-job",
            "cores": 1,
            "memory_bytes": 1 << 30,
            "seconds_left": None,
            "checkpoint_seconds": 60,
            "evaluation_seconds": 60,
        }
        return TrainTask(**{**given, **folders, **changes})


@dataclass
class Trained:
    """A candidate of a job, its archives unpacked."""

    job: Job
    task: TrainTask
    result: TrainResult
    unpacked: Path


def job_of(folder, problem_type, rows=250):
    for name in ("prepared", "output"):
        (folder / name).mkdir(parents=True)
    table, said = folder / "table.csv", folder / "said.json"
    write_csv(table, problem_type, rows)
    said.write_text(json.dumps({"FeatureDataTypes": KINDS}))
    files = [LocalFile(path=one, uri=str(one), size_bytes=one.stat().st_size, etag="e") for one in (table, said)]
    channel = LocalChannel(channel_type="training", content_type="text/csv", compression="None", files=(files[0],))
    spec = spec_of(problem_type, OBJECTIVES[problem_type], feature_specification_uri=str(said))
    task = ProfileTask(
        job_name="tuned-job",
        spec=spec.to_json(),
        channels=(channel,),
        base_models=folder,
        prepared=folder / "prepared",
        output=folder / "output",
        output_uri=str(folder / "output"),
        cores=1,
        memory_bytes=1 << 30,
        extra_files=(files[1],),
    )
    return Job(folder=folder, spec=spec, task=task, profile=data.profile(tasks.to_json(task), Quiet()))


@pytest.fixture(scope="session", params=tuple(OBJECTIVES))
def trained(request, tmp_path_factory):
    """The first candidate of a job of this problem type."""
    job = job_of(tmp_path_factory.mktemp("job"), request.param)
    task = job.train_task(job.search().ask(), "first")
    result = fit.fit(task, Quiet())
    containers = [{"model_path": one.model_path} for one in result.containers]
    unpacked = artifacts.unpack(task.output, containers, job.folder / "unpacked")
    return Trained(job=job, task=task, result=result, unpacked=unpacked)


@pytest.fixture(scope="session")
def job(tmp_path_factory):
    """A profiled job of two classes."""
    return job_of(tmp_path_factory.mktemp("job"), "BinaryClassification", rows=200)


@pytest.fixture(scope="session")
def searched(job):
    """A candidate of that job whose settings were searched, and what came of it."""
    candidate = {**job.search().ask(), "pipeline": "dpp1", "default": None, "number": 9}
    return candidate, fit.fit(job.train_task(candidate, "searched"), Quiet())
