"""Small prepared tables with a known rule, and trials of them as a worker would start them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from gyropilot.problems.contract import Limits, TrainTask
from gyropilot.problems.tabular import tables
from gyropilot.problems.tabular.columns import Column, Schema
from gyropilot.problems.tabular.request import TabularSpec

LABELS = {"BinaryClassification": ("no", "yes"), "MulticlassClassification": ("a", "b", "c"), "Regression": ()}
OBJECTIVES = {"BinaryClassification": "F1", "MulticlassClassification": "Accuracy", "Regression": "MSE"}
FEATURES = (
    Column(name='size "x" [m]', kind="numeric"),
    Column(name="größe", kind="numeric"),
    Column(name="colour", kind="categorical"),
    Column(name="since", kind="datetime"),
    Column(name="said", kind="text"),
    Column(name="row", kind="numeric", is_ignored=True),
)
_WORDS = (
    "the parcel came late",
    "all was well with it",
    "box was broken",
    "friendly people there",
    "would buy it again",
)


class Table:
    """A table whose target follows from size and colour, with some noise; of classes the last is the rarest."""

    def __init__(self, problem_type, rows=400, *, seed=0, weighted=False):
        rng = np.random.default_rng(seed)
        self.size, self.colour = rng.normal(size=rows), rng.integers(0, 3, rows)
        signal = self.size + np.array([0.0, 1.0, -1.0])[self.colour] + 0.3 * rng.normal(size=rows)
        bounds = {"BinaryClassification": [1.0], "MulticlassClassification": [-0.5, 1.2]}.get(problem_type)
        self.target = signal if bounds is None else np.digitize(signal, bounds)
        weight = "weight" if weighted else None
        self.weights = rng.uniform(0.5, 2.0, rows) if weighted else None
        self.schema = Schema(
            features=FEATURES, target="t", weight=weight, problem_type=problem_type, labels=LABELS[problem_type]
        )
        self._rng = rng

    def arrow(self):
        rows, rng = len(self.target), self._rng
        colours = np.array(["red", "green", None], dtype=object)[self.colour]
        days = np.datetime64("2024-01-01T00:00:00", "us") + rng.integers(0, 500, rows).astype("timedelta64[D]")
        words = [" ".join(_WORDS[at] for at in rng.permutation(5)) for _ in range(rows)]
        other = np.where(rng.uniform(size=rows) < 0.1, np.nan, rng.normal(size=rows))
        columns = {
            FEATURES[0].name: pa.array(self.size),
            FEATURES[1].name: pa.array(other, from_pandas=True),
            "colour": pa.array(colours, pa.string()),
            "since": pa.array(days),
            "said": pa.array(words),
            "row": pa.nulls(rows, pa.float64()),
            "t": pa.array(self.target),
        }
        return pa.table(columns | ({} if self.weights is None else {"weight": pa.array(self.weights)}))

    def prepare(self, folder: Path, *, validation: int):
        """Write the last `validation` rows as validation rows, as profile would."""
        folder.mkdir(parents=True)
        whole = self.arrow()
        parquet.write_table(whole.slice(0, len(whole) - validation), folder / tables.TRAINING_FILE)
        parquet.write_table(whole.slice(len(whole) - validation), folder / tables.VALIDATION_FILE)


def make_spec(
    table: Table, *, algorithms=(), most=10, objective=None, validation_fraction=0.2, own_seconds=None
) -> TabularSpec:
    return TabularSpec(
        target="t",
        mode="ENSEMBLING",
        problem_type=table.schema.problem_type,
        objective=objective,
        algorithms=tuple(algorithms),
        definitions_only=False,
        feature_specification_uri=None,
        weight_column=table.schema.weight,
        validation_fraction=validation_fraction,
        seed=42,
        limits=Limits(max_candidates=most, seconds_per_candidate=own_seconds, seconds_per_job=None),
        defaulted=(),
    )


def make_profile(table: Table, *, objective=None):
    problem_type = table.schema.problem_type
    return {
        "job_name": "tables",
        "mode": "ENSEMBLING",
        "schema": table.schema.to_json(),
        "objective": objective or OBJECTIVES[problem_type],
        "rows": {"read": len(table.target), "dropped": 0, "training": len(table.target) * 3 // 4},
    }


def make_task(folder: Path, table: Table, *, models, is_bagged, seconds_left=None, spec=None, **candidate) -> TrainTask:
    """Prepare the table below `folder`, and give the task of one trial."""
    if not (folder / "prepared").exists():
        table.prepare(folder / "prepared", validation=len(table.target) // 4)
    for name in ("checkpoints", "output"):
        (folder / name).mkdir(exist_ok=True)
    proposed = {
        "name": "tables-trial-t1-1",
        "number": 1,
        "title": "of the tests",
        "models": list(models),
        "is_bagged": is_bagged,
        "stack_levels": 0,
        "share": 1.0,
        "most_seconds": None,
        **candidate,
    }
    return TrainTask(
        job_name="tables",
        spec=(spec or make_spec(table)).to_json(),
        candidate=proposed,
        profile=make_profile(table),
        base_models=folder,
        prepared=folder / "prepared",
        checkpoints=folder / "checkpoints",
        output=folder / "output",
        output_uri="s3://bucket/jobs/tables",
        cores=2,
        memory_bytes=4 << 30,
        seconds_left=seconds_left,
        checkpoint_seconds=30,
        evaluation_seconds=30,
    )


class Heard:
    """A reporter that keeps what it hears, and asks to stop when told so."""

    def __init__(self, *, stop=False, hand_back=False):
        self.phases, self.events = [], []
        self._stop, self._hand_back = stop, hand_back

    def progress(self, phase, *, done, total, unit, values=None):
        self.phases.append((phase, done, total, unit))

    def event(self, kind, message, *, detail=None):
        self.events.append((kind, message, detail))

    def stop_requested(self):
        return self._stop

    def hand_back_requested(self):
        return self._hand_back
