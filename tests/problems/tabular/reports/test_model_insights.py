from __future__ import annotations

import json

import numpy as np
import pytest

import report_pages
import reported_tables
from gyropilot.problems.tabular.columns import read_schema
from gyropilot.problems.tabular.reports import explainability, model_insights
from gyropilot.problems.tabular.tables import Frame

FIGURES = {
    "BinaryClassification": ["scatter", "scatter", "scatter", "scatter", "bar", "heatmap"],
    "MulticlassClassification": ["heatmap"],
    "Regression": ["scatter", "scatter", "bar"],
}


def written(folder, problem_type, *, rows=250, weights=None, **changes):
    """Give the statistics and the page of a report."""
    model = reported_tables.fitted(problem_type)
    task, reporter = reported_tables.task_of(folder, model.schema, **changes), reported_tables.Recorder()
    frame = reported_tables.frame_of(problem_type, rows, seed=5)
    frame = Frame(features=frame.features, target=frame.target, weights=weights)
    model_insights.write(task, model, frame, seconds=60, reporter=reporter)
    assert reporter.progressed[-1] == ("measuring", rows, rows)
    place = task.output / model_insights.LOCATION / task.candidate
    statistics = json.loads((place / "statistics.json").read_text(encoding="utf-8"))
    return statistics, report_pages.read(place / "report.html")


@pytest.mark.parametrize("problem_type", list(FIGURES))
def test_statistics_and_figures_are_those_of_the_problem_type(tmp_path, problem_type):
    statistics, page = written(tmp_path, problem_type)
    name = {"Regression": "regression", "BinaryClassification": "binary_classification"}.get(
        problem_type, "multiclass_classification"
    )
    assert set(statistics) == {"version", "dataset", f"{name}_metrics"}
    assert statistics["dataset"]["item_count"] == 250
    assert [figure["data"][0]["type"] for figure in page.figures] == FIGURES[problem_type]
    assert "Use the model: on 250 validation rows it is clearly better than guessing." in page.text
    assert "In the data: column note" in page.text
    page.check_harmless()


def test_the_page_shows_what_explains_the_same_candidate(tmp_path):
    schema = reported_tables.schema_of("Regression")
    task = reported_tables.task_of(tmp_path, schema)
    kept = {"candidate": task.candidate, "strongest": [["tenure", 0.4]]}
    (task.prepared / explainability.KEPT).write_text(json.dumps(kept))
    _, page = written(tmp_path, "Regression")
    assert page.figures[-1]["layout"]["yaxis"]["ticktext"] == ["tenure"]
    (task.prepared / explainability.KEPT).write_text(json.dumps(kept | {"candidate": "another"}))
    _, page = written(tmp_path, "Regression")
    assert "Strongest features" not in page.text


def test_what_to_watch_is_said(tmp_path):
    result = {
        "score": 0.6,
        "score_name": "Accuracy",
        "direction": "Maximize",
        "metrics": [
            {"name": "Accuracy", "split": split, "value": value}
            for split, value in (("Train", 0.99), ("Validation", 0.6))
        ],
        "containers": [{"model_path": "model.tar.gz"}],
        "chosen": {"depth": 7, "fold_score": 0.5, "score_at_2": 0.4, "candidate": 3},
        "ended_by": "time limit",
    }
    _, page = written(tmp_path, "MulticlassClassification", rows=60, result=result)
    assert "Only 60 validation rows" in page.text
    assert "On the rows it was trained on Accuracy is 0.99, on others 0.6" in page.text
    assert "Training was ended by its time limit" in page.text
    assert "on only 60 validation rows, too few to be sure" in page.text
    assert "SettingValuedepth7" in page.text
    assert "fold_score" not in page.text, "what the search keeps is no setting"
    assert "score_at" not in page.text


def test_the_candidate_is_shown_among_the_others(tmp_path):
    others = [
        {
            "name": f"churn-{number}",
            "score": 0.9 - number / 10,
            "seconds": 12.0,
            "chosen": {"algorithm": "mlp", "rate": 0.1, "candidate": 3, "fold_score": 0.5, "score_at_1": 0.4},
        }
        for number in range(3)
    ]
    _, page = written(
        tmp_path, "BinaryClassification", candidates=(*others, {"name": "last", "score": 0.1, "seconds": 9.0})
    )
    assert "The 4 best of 4 with a score, by F1 (higher is better)" in page.text
    assert "churn-10.812algorithm mlp" in page.text
    assert "candidate 3" not in page.text


def test_the_table_of_classes_says_that_it_is_without_weights(tmp_path):
    weights = np.random.default_rng(0).uniform(0, 2, 250)
    _, plain = written(tmp_path / "plain", "BinaryClassification")
    _, weighted = written(tmp_path / "weighted", "BinaryClassification", weights=weights)
    assert ("Here rows count alike" in plain.html, "Here rows count alike" in weighted.html) == (False, True)


def test_weights_are_told_and_counted(tmp_path):
    weights = np.random.default_rng(0).uniform(0, 2, 250)
    plain, _ = written(tmp_path / "plain", "Regression")
    weighted, page = written(tmp_path / "weighted", "Regression", weights=weights)
    assert (plain["dataset"]["is_weighted"], weighted["dataset"]["is_weighted"]) == (False, True)
    assert plain["regression_metrics"]["mse"]["value"] != weighted["regression_metrics"]["mse"]["value"]
    assert "rows count by" in page.text


def test_a_model_that_guesses_is_not_recommended_and_missed_classes_are_named(tmp_path):
    model = reported_tables.fitted("MulticlassClassification")
    model.predict_probabilities = lambda features: np.tile([0.1, 0.8, 0.1], (len(features), 1))
    task = reported_tables.task_of(tmp_path, model.schema)
    frame = reported_tables.frame_of("MulticlassClassification", 250, seed=5)
    model_insights.write(task, model, frame, seconds=60, reporter=reported_tables.Recorder())
    page = report_pages.read(tmp_path / "output" / model_insights.LOCATION / task.candidate / "report.html")
    assert "Do not use the model: on the 250 validation rows it is no better than guessing." in page.text
    assert "None of the rows of 'low', 'high' is recognised" in page.text


def test_the_matrix_shows_the_fifteen_largest_of_many_classes(tmp_path):
    labels = [f"class {number}" for number in range(40)]
    model = reported_tables.fitted("MulticlassClassification")
    model.schema = read_schema(model.schema.to_json() | {"labels": labels})
    model.predict_probabilities = lambda features: np.eye(40)[features["tenure"].fillna(0).astype(int) % 40]
    frame = reported_tables.frame_of("Regression", 300, seed=5)
    target = np.minimum((frame.features["tenure"].fillna(0) % 40).astype(int), 37).to_numpy()
    task = reported_tables.task_of(tmp_path, model.schema)
    shown = Frame(features=frame.features, target=target, weights=None)
    model_insights.write(task, model, shown, seconds=60, reporter=reported_tables.Recorder())
    page = report_pages.read(tmp_path / "output" / model_insights.LOCATION / task.candidate / "report.html")
    (figure,) = page.figures
    assert len(figure["layout"]["xaxis"]["ticktext"]) == 15
    assert "The 15 largest of 40 classes" in page.text


@pytest.mark.parametrize("problem_type", list(FIGURES))
@pytest.mark.parametrize("rows", [1, 250])
def test_rows_that_hardly_count_or_are_all_alike_leave_a_report(tmp_path, problem_type, rows):
    model, frame = reported_tables.fitted(problem_type), reported_tables.frame_of(problem_type, rows, seed=5)
    alike = np.full(rows, 1e300 if problem_type == "Regression" else 1)
    one = np.zeros(rows)
    one[-1] = 1.0
    for number, (target, weights) in enumerate([(alike, None), (frame.target, one), (frame.target, np.zeros(rows))]):
        task = reported_tables.task_of(tmp_path / str(number), model.schema)
        shown = Frame(features=frame.features, target=target, weights=weights)
        statistics = model_insights.write(task, model, shown, seconds=60, reporter=reported_tables.Recorder())
        assert statistics["dataset"]["item_count"] == rows
