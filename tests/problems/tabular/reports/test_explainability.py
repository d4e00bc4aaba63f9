from __future__ import annotations

import json

import pandas as pd
import pytest

import report_pages
import reported_tables
from gyropilot.errors import TrainingFailed
from gyropilot.problems.tabular.reports import explainability


def written(folder, problem_type="BinaryClassification", **changes):
    """Give the report's folder, and what was explained."""
    model = reported_tables.fitted(problem_type)
    task, reporter = reported_tables.task_of(folder, model.schema, **changes), reported_tables.Recorder()
    training, validation = (reported_tables.frame_of(problem_type, rows, seed=rows) for rows in (80, 40))
    explained = explainability.write(task, model, training, validation, seconds=60, reporter=reporter)
    assert reporter.progressed[0] == ("explaining", 0, 40)
    return task.output / explainability.LOCATION / task.candidate, explained


@pytest.fixture(scope="module")
def binary(tmp_path_factory):
    return written(tmp_path_factory.mktemp("binary"))


def test_the_folder_holds_the_files_that_the_service_writes(binary):
    folder, _ = binary
    assert sorted(str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file()) == [
        "analysis.json",
        "explanations_shap/baseline.csv",
        "explanations_shap/out.csv",
        "report.html",
        "report.ipynb",
    ]


def test_the_analysis_of_two_classes_has_one_label_and_every_feature_that_is_not_ignored(binary):
    folder, explained = binary
    analysis = json.loads((folder / "analysis.json").read_text(encoding="utf-8"))
    assert analysis["version"] == "1.0"
    (label,) = analysis["explanations"]["kernel_shap"]
    values = analysis["explanations"]["kernel_shap"][label]
    assert label == "label0"
    assert set(values["global_shap_values"]) == {one.name for one in reported_tables.FEATURES[1:]}
    assert max(values["global_shap_values"], key=values["global_shap_values"].get) == "tenure"
    assert values["expected_value"] == pytest.approx(explained.expected[0])
    out = pd.read_csv(folder / "explanations_shap" / "out.csv")
    assert list(out) == [f"{one.name}_label0" for one in reported_tables.FEATURES[1:]]
    for name, value in values["global_shap_values"].items():
        assert out[f"{name}_label0"].abs().mean() == pytest.approx(value)
    baseline = pd.read_csv(folder / "explanations_shap" / "baseline.csv")
    assert list(baseline) == [one.name for one in reported_tables.FEATURES]
    assert len(baseline) == len(explained.baseline)


def test_of_more_classes_features_vary_first_and_then_labels(tmp_path):
    folder, explained = written(tmp_path, "MulticlassClassification")
    labels, names = (
        reported_tables.LABELS["MulticlassClassification"],
        [one.name for one in reported_tables.FEATURES[1:]],
    )
    analysis = json.loads((folder / "analysis.json").read_text(encoding="utf-8"))
    assert list(analysis["explanations"]["kernel_shap"]) == list(labels)
    out = pd.read_csv(folder / "explanations_shap" / "out.csv")
    assert list(out) == [f"{name}_{label}" for label in labels for name in names]
    assert out.iloc[0, 1] == pytest.approx(explained.values[0, 1, 0])
    page = report_pages.read(folder / "report.html")
    assert "By class" in page.text
    page.check_harmless()


def test_the_page_names_the_strongest_features_and_runs_nothing_of_the_data(binary):
    page = report_pages.read(binary[0] / "report.html")
    assert "The answers for churn are moved most by tenure, plan" in page.text
    assert "may a part is no proof" not in page.text
    assert [figure["data"][0]["type"] for figure in page.figures] == ["bar", "scatter", "bar"]
    page.check_harmless()


def test_the_notebook_runs_by_itself_and_says_the_same_again(binary, tmp_path):
    report_pages.run_notebook(binary[0] / "report.ipynb", tmp_path)


def test_one_feature_that_says_nearly_all_is_asked_about(tmp_path):
    model, frame = reported_tables.linear(4)
    model.estimator.coef_[:] = [9, 0.5, 0.2, 0.1]
    task = reported_tables.task_of(tmp_path, model.schema)
    explainability.write(task, model, frame, frame, seconds=60, reporter=reported_tables.Recorder())
    page = report_pages.read(tmp_path / "output" / explainability.LOCATION / task.candidate / "report.html")
    assert "Make sure that its value is known before y is" in page.text


def test_a_model_without_usable_features_is_refused_with_the_reason(tmp_path):
    model, frame = reported_tables.linear(1)
    ignored = [{"name": "x0", "kind": "numeric", "is_ignored": True}]
    from gyropilot.problems.tabular.columns import read_schema

    model.schema = read_schema(model.schema.to_json() | {"features": ignored})
    with pytest.raises(TrainingFailed, match="no feature whose part"):
        explainability.write(
            reported_tables.task_of(tmp_path, model.schema), model, frame, frame, seconds=9, reporter=None
        )
