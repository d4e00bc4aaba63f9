"""A tabular job without a service: staged rows, and its children called in turn, in this process."""

from __future__ import annotations

import csv

import tuned_tables
from gyropilot.problems import tasks
from gyropilot.problems.contract import Limits, LocalChannel, LocalFile, ProfileTask, TrainTask
from gyropilot.problems.tabular import artifacts, data, models, search, train
from gyropilot.problems.tabular.request import SEED, TabularSpec
from tuning_jobs import Listener

NAME = "table"
TARGET = "churn"


def spec(**changes):
    values = {
        "target": TARGET,
        "mode": "ENSEMBLING",
        "problem_type": "BinaryClassification",
        "objective": "Accuracy",
        "algorithms": ("lightgbm",),
        "definitions_only": False,
        "feature_specification_uri": None,
        "weight_column": None,
        "validation_fraction": 0.2,
        "seed": SEED,
        "limits": Limits(max_candidates=10, seconds_per_candidate=None, seconds_per_job=None),
        "defaulted": (),
    }
    return TabularSpec(**(values | changes))


def rows_of(problem_type, count):
    """Give a header and rows with a known answer in their last column."""
    rows, numbers = tuned_tables.draw_rows(count)
    labels = tuned_tables.LABELS[problem_type]
    edges = {2: (20.0,), 3: (0.0, 40.0)}.get(len(labels), ())
    answers = [labels[sum(one >= edge for edge in edges)] if labels else f"{one:.1f}" for one in numbers]
    header = [*(one.name for one in tuned_tables.FEATURES), TARGET]
    return header, [[*row, answer] for row, answer in zip(rows, answers, strict=True)]


class TableJob:
    """One job's folders; trained when this returns."""

    def __init__(self, root, *, rows=300, problem_type="BinaryClassification", **changes):
        self.root = root
        self.spec = spec(problem_type=problem_type, **changes)
        self.header, self.rows = rows_of(problem_type, rows)
        self.base_models = root / "base_models"
        for name in ("base_models", "prepared", "profile", "checkpoints", "output"):
            (root / name).mkdir(parents=True)
        self._common = {"job_name": NAME, "spec": self.spec.to_json(), "base_models": self.base_models, "cores": 1}
        self._common |= {"prepared": root / "prepared", "output_uri": f"s3://out/{NAME}", "memory_bytes": 2**31}
        self.profile = self._profiled()
        self.candidate = search.open_search(self.spec, self.profile).ask()
        self.result = self._trained()

    def csv(self, count):
        """Give the first rows without their answers, as a payload."""
        return "".join(",".join(f'"{cell}"' for cell in row[:-1]) + "\n" for row in self.rows[:count]).encode()

    def folders(self):
        """Unpack each container's archive into a folder of its own."""
        made = [self.root / f"container-{number}" for number, _ in enumerate(self.result.containers, start=1)]
        for folder, one in zip(made, self.result.containers, strict=True):
            if not folder.exists():
                artifacts.unpack(self.root / "output", [{"model_path": one.model_path}], folder)
        return made

    def model(self):
        """Give the model as scoring and reports load it."""
        containers = [{"model_path": one.model_path} for one in self.result.containers]
        return models.load(artifacts.unpack(self.root / "output", containers, self.root / "whole"))

    def _profiled(self):
        path = self.root / "rows.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([self.header, *self.rows])
        file = LocalFile(path=path, uri="s3://data/rows.csv", size_bytes=path.stat().st_size, etag="e")
        channel = LocalChannel(
            channel_type="training", content_type="text/csv;header=present", compression="None", files=(file,)
        )
        task = ProfileTask(channels=(channel,), output=self.root / "profile", **self._common)
        return data.profile(tasks.to_json(task), Listener())

    def _trained(self):
        task = TrainTask(
            candidate=self.candidate,
            profile=self.profile,
            checkpoints=self.root / "checkpoints",
            output=self.root / "output",
            seconds_left=60.0,
            checkpoint_seconds=60.0,
            evaluation_seconds=60.0,
            **self._common,
        )
        return tasks.train_result(train.train(tasks.to_json(task), Listener()))
