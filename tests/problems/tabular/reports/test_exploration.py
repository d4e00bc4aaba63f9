from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import report_pages
import reported_tables
from gyropilot.problems import tasks
from gyropilot.problems.contract import LocalChannel, LocalFile, ProfileTask
from gyropilot.problems.tabular import data, tables
from gyropilot.problems.tabular.columns import Column, Schema, read_schema
from gyropilot.problems.tabular.reports import exploration, table_sample
from gyropilot.problems.tabular.reports.prediction_power import prediction_powers
from gyropilot.problems.tabular.tables import Frame

SPEC = {
    "target": "churn",
    "mode": "ENSEMBLING",
    "problem_type": None,
    "objective": None,
    "algorithms": [],
    "definitions_only": False,
    "feature_specification_uri": None,
    "weight_column": None,
    "validation_fraction": 0.2,
    "seed": 42,
    "limits": {"max_candidates": 2, "seconds_per_candidate": None, "seconds_per_job": None},
    "defaulted": [],
}


class Listener(reported_tables.Recorder):
    def event(self, kind, message, *, detail=None):
        pass


def profiled(folder, problem_type, rows=500):
    """Profile a table as a job does; give its task and result."""
    frame = reported_tables.frame_of(problem_type, rows, seed=4)
    labels = reported_tables.LABELS[problem_type]
    target = frame.target if problem_type == "Regression" else [labels[number] for number in frame.target]
    path = folder / "rows.csv"
    frame.features.drop(columns="row").assign(churn=target).to_csv(path, index=False)
    file = LocalFile(path=path, uri=f"s3://data/{reported_tables.CANARY}.csv", size_bytes=path.stat().st_size, etag="e")
    for name in ("prepared", "output"):
        (folder / name).mkdir()
    task = ProfileTask(
        job_name=f"churn{reported_tables.CANARY}",
        spec={**SPEC, "problem_type": problem_type},
        channels=(
            LocalChannel(
                channel_type="training", content_type="text/csv;header=present", compression="None", files=(file,)
            ),
        ),
        base_models=folder,
        prepared=folder / "prepared",
        output=folder / "output",
        output_uri="s3://out/churn",
        cores=1,
        memory_bytes=1 << 30,
    )
    return task, data.profile(tasks.to_json(task), Listener())


@pytest.mark.parametrize("problem_type", ["MulticlassClassification", "Regression"])
def test_profile_leaves_a_notebook_that_runs_by_itself_and_says_the_same_again(tmp_path, problem_type):
    task, result = profiled(tmp_path, problem_type)
    path = task.output / result["artifacts"]["DataExploration"]
    assert path.name == "SageMakerAutopilotDataExplorationNotebook.ipynb"
    assert path.parts[-4:-2] == ("sagemaker-automl-candidates", path.parts[-3])
    (tmp_path / "empty").mkdir()
    notebook = report_pages.run_notebook(path, tmp_path / "empty")
    told = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for section in (
        "Dataset summary",
        "Target analysis",
        "Data sample",
        "Duplicate rows",
        "Cross column correlation",
        "Anomalous rows",
        "Missing values and cardinality",
        "Descriptive statistics",
        "Definitions",
    ):
        assert f"## {section}" in told
    assert "500 rows read, 0 left out, 400 to train on, 100 to validate on" in told
    assert "Every table has some: look at their values" in told
    assert "are odd (below" not in told


def test_powers_are_near_one_for_the_target_itself_and_near_nought_for_chance():
    rng = np.random.default_rng(0)
    target = rng.integers(0, 2, 1000)
    features = pd.DataFrame(
        {
            "told": target * 2.0,
            "named": np.where(target, "yes", "no").astype(object),
            "half": np.where(rng.random(1000) < 0.5, target, rng.integers(0, 2, 1000)).astype(float),
            "noise": rng.normal(size=1000),
            "id": [f"id{number}" for number in range(1000)],
            "empty": np.full(1000, np.nan),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(target * 30 + rng.integers(0, 9, 1000), unit="D"),
            "note": pd.Series(["text"] * 1000, dtype=object),
        }
    )
    kinds = ["numeric", "categorical", "numeric", "numeric", "categorical", "numeric", "datetime", "text"]
    columns = tuple(Column(name=name, kind=kind) for name, kind in zip(features, kinds, strict=True))
    schema = Schema(
        features=columns, target="t", weight=None, problem_type="BinaryClassification", labels=("no", "yes")
    )
    powers = prediction_powers(Frame(features=features, target=target, weights=None), schema)
    assert min(powers["told"], powers["named"], powers["day"]) > 0.99
    assert 0.4 < powers["half"] < 0.6
    assert max(powers["noise"], powers["id"]) < 0.1
    assert powers["empty"] == 0.0
    assert powers["note"] is None
    amounts = read_schema(schema.to_json() | {"problem_type": "Regression", "labels": []})
    powers = prediction_powers(Frame(features=features, target=3.0 * target, weights=None), amounts)
    assert powers["told"] > 0.99
    assert 0.15 < powers["half"] < 0.35
    assert powers["noise"] < 0.05


def test_of_many_rows_some_are_drawn_from_all_over_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(table_sample, "_MOST_ROWS", 100)
    schema = Schema(
        features=(Column(name="x", kind="numeric"),), target="t", weight=None, problem_type="Regression", labels=()
    )
    path = tmp_path / tables.TRAINING_FILE
    numbers = np.arange(1000.0)
    pd.DataFrame({"x": numbers, "t": numbers}).to_parquet(path, row_group_size=150)
    drawn = table_sample.sample(path, schema)
    assert len(drawn.target) == 100
    assert np.array_equal(drawn.features["x"], drawn.target)
    assert drawn.target.min() < 50
    assert drawn.target.max() > 950


def test_the_row_that_is_unlike_the_others_is_the_oddest():
    features = pd.DataFrame({"x": [*np.random.default_rng(0).normal(size=200), 50.0], "c": ["a"] * 200 + ["b"]})
    schema = SimpleNamespace(features=(Column(name="x", kind="numeric"), Column(name="c", kind="categorical")))
    usual = table_sample.oddness(Frame(features=features, target=np.zeros(201), weights=None), schema, ["x", "c"])
    assert usual.argmin() == 200
    assert usual[200] < 0 < np.median(usual)
    assert exploration._field(np.nan) is None
