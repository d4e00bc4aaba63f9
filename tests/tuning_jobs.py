"""A text-generation job without a service: a store with a tiny model, staged rows, the tasks of its two children."""

from __future__ import annotations

import csv
import dataclasses

import services
from gyropilot.base_models.store import BaseModelStore
from gyropilot.data.frames import CSV
from gyropilot.problems import tasks
from gyropilot.problems.contract import Limits, LocalChannel, LocalFile, ProfileTask, TrainTask
from gyropilot.problems.text_generation import data, train
from gyropilot.problems.text_generation.request import TextGenerationSpec
from gyropilot.problems.text_generation.tuning.parameters import SEED

COLOURS = ("red", "green", "blue", "yellow")
ROWS = [(f"What colour has stone {number}?", f"It is {COLOURS[number % 2]}.") for number in range(60)]


class Listener:
    """A Reporter that keeps what it hears; `stop_when` says when a stop is asked for, `die_when` raises Killed."""

    def __init__(self, *, stop_when=None, die_when=None):
        self.progressed, self.events = [], []
        self._stop_when, self._die_when = stop_when, die_when
        self._is_stopped = False

    def progress(self, phase, *, done, total, unit, values=None):
        self.progressed.append({"phase": phase, "done": done, "total": total, "unit": unit, **(values or {})})
        if self._die_when and self._die_when(phase, done):
            raise Killed
        self._is_stopped = self._is_stopped or bool(self._stop_when and self._stop_when(phase, done))

    def event(self, kind, message, *, detail=None):
        self.events.append((kind, message, detail))

    def hand_back_requested(self):
        return False

    def stop_requested(self):
        return self._is_stopped

    def phases(self):
        return list(dict.fromkeys(one["phase"] for one in self.progressed))


class Killed(BaseException):
    """Stands for the death of the process: nothing of ours catches it."""


def spec(**changes):
    values = {
        "base_model": services.TINY,
        "loaded_model": services.TINY,
        "accept_eula": False,
        "epochs": 2,
        "batch_size": 4,
        "learning_rate": 1e-2,
        "warmup_steps": 2,
        "seed": SEED,
        "validation_fraction": 0.2,
        "defaulted": (),
        "limits": Limits(max_candidates=1, seconds_per_candidate=None, seconds_per_job=None),
    }
    return TextGenerationSpec(**(values | changes))


class Job:
    """One job's folders."""

    def __init__(self, root, model_folder, **changes):
        self.root = root
        self.spec = spec(**changes)
        self.base_models = root / "base_models"
        if not self.base_models.exists():
            self.base_models.mkdir()
            BaseModelStore(self.base_models, allow_downloads=False).add(services.TINY, model_folder, licence="mit")

    def stage(self, rows, *, kind="training", header=data.COLUMNS, name=None):
        """Give a channel of one CSV file."""
        path = self.root / (name or f"{kind}.csv")
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])
        size = path.stat().st_size
        file = LocalFile(path=path, uri=f"s3://data/{path.name}", size_bytes=size, etag="e")
        return LocalChannel(channel_type=kind, content_type=CSV, compression="None", files=(file,))

    def profile(self, *channels, listener=None):
        task = ProfileTask(
            job_name="colours",
            spec=self.spec.to_json(),
            channels=channels,
            base_models=self.base_models,
            prepared=self.root / "prepared",
            output=self.root / "profile_output",
            output_uri="s3://out/colours",
            cores=1,
            memory_bytes=0,
        )
        return data.profile(tasks.to_json(task), listener or Listener())

    def train_task(self, profile, *, attempt="run", **changes):
        folders = {name: self.root / attempt / name for name in ("checkpoints", "output")}
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        task = TrainTask(
            job_name="colours",
            spec=self.spec.to_json(),
            candidate={"name": "colours-candidate-1"},
            profile=profile,
            base_models=self.base_models,
            prepared=self.root / "prepared",
            output_uri="s3://out/colours",
            cores=1,
            memory_bytes=0,
            seconds_left=None,
            checkpoint_seconds=0.0,
            evaluation_seconds=60.0,
            **folders,
        )
        return dataclasses.replace(task, **changes)

    def train(self, task, listener=None):
        return tasks.train_result(train.train(tasks.to_json(task), listener or Listener()))
