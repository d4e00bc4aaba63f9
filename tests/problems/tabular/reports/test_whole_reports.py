"""Both reports as the worker asks for them, of a model that hyperparameter tuning trained."""

from __future__ import annotations

import dataclasses
import json

import pandas as pd
import pytest

import report_pages
import reported_tables
import tuned_tables
from gyropilot.errors import TrainingFailed
from gyropilot.problems import tasks
from gyropilot.problems.archives import write_archive
from gyropilot.problems.tabular import tables
from gyropilot.problems.tabular.reports import explainability, model_insights


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """The task of a report on a model in two archives, its rows beside it."""
    folder = tmp_path_factory.mktemp("whole")
    trained = tuned_tables.train(
        folder / "trained", "BinaryClassification", pipeline="dpp0", algorithm="linear-learner", threshold=0.4
    )
    task = reported_tables.task_of(folder, trained.schema, seconds_left=120.0)
    for name in ("transform", "algorithm"):
        write_archive(getattr(trained, name), task.model / f"{name}.tar.gz", within={})
    rows = tables.from_text(trained.rows, trained.schema).assign(churn=trained.target)
    rows["id"] = pd.Series([None] * len(rows), dtype="string")
    rows.iloc[:200].to_parquet(task.prepared / tables.TRAINING_FILE)
    rows.iloc[200:].to_parquet(task.prepared / tables.VALIDATION_FILE)
    containers = [{"model_path": f"{name}.tar.gz"} for name in ("transform", "algorithm", "transform")]
    return dataclasses.replace(task, result={**task.result, "containers": containers})


def test_both_are_made_and_the_second_tells_of_the_first(task):
    reporter = reported_tables.Recorder()
    made = explainability.explain(tasks.to_json(task), reporter)
    assert made == {"artifacts": {"Explainability": "documentation/explainability/output"}}
    (found,) = (task.output / made["artifacts"]["Explainability"]).iterdir()
    assert found.name == task.candidate
    shown = json.loads((found / "analysis.json").read_text(encoding="utf-8"))["explanations"]["kernel_shap"]["label0"]
    strength = shown["global_shap_values"]
    assert set(strength) == {"tenure", "plan", "joined"}
    assert min(strength["tenure"], strength["plan"]) > strength["joined"]

    made = model_insights.report(tasks.to_json(task), reporter)
    assert made["artifacts"] == {
        "ModelInsights": "documentation/model_monitor/output",
        "report": f"documentation/model_monitor/output/{task.candidate}/report.html",
    }
    statistics = json.loads(
        (task.output / made["artifacts"]["ModelInsights"] / task.candidate / "statistics.json").read_text(
            encoding="utf-8"
        )
    )
    assert statistics["dataset"]["item_count"] == 100
    assert statistics["binary_classification_metrics"]["accuracy"]["value"] > 0.85
    page = report_pages.read(task.output / made["artifacts"]["report"])
    assert page.figures[-1]["layout"]["yaxis"]["ticktext"] == sorted(strength, key=strength.get, reverse=True)


def test_without_the_time_for_a_row_the_explanation_is_refused_and_says_so(task):
    with pytest.raises(TrainingFailed, match=r"explaining one row takes about .* seconds with this model"):
        explainability.explain(tasks.to_json(dataclasses.replace(task, seconds_left=0.0)), reported_tables.Recorder())
