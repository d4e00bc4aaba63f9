"""The explainability report of the best candidate: which features move its answers, by Kernel SHAP; runs in a child.

<output>/documentation/explainability/output/<candidate>/
    analysis.json                     mean |value| by feature, and the mean answer, by label
    explanations_shap/out.csv         the values, a row for each explained row, columns <Feature>_<Label>
    explanations_shap/baseline.csv    the rows against which answers are explained
    report.html  report.ipynb         the ten strongest features, drawn

Regressions and two classes have one output, called `label0` as the service's own reports call it; of two classes it is
the probability of the second. Of more classes each has its label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gyropilot import clock
from gyropilot.problems import tasks
from gyropilot.problems.contract import Json, Reporter, ReportResult, ReportTask
from gyropilot.problems.tabular.threads import use_threads

if TYPE_CHECKING:
    from gyropilot.problems.tabular.columns import Schema
    from gyropilot.problems.tabular.models import Model
    from gyropilot.problems.tabular.reports.kernel_shap import Explanation
    from gyropilot.problems.tabular.tables import Frame

LOCATION = "documentation/explainability/output"
KEPT = "explanation.json"
"""In the prepared folder: the strongest features, for the report of model insights."""
SHOWN_FEATURES = 10
_MOST_SECONDS, _SHARE = 120.0, 0.7
_SEED = 0


def explain(arguments: Mapping[str, Json], reporter: Reporter) -> dict[str, Json]:
    """Write the report of a ReportTask and give its ReportResult as JSON.

    Raises:
        TrainingFailed: there is not the time to explain one row, or the model cannot be read.
    """
    started = clock.monotonic()
    task = tasks.report_task(arguments)
    use_threads(1)
    # numpy and what stands on it read their threads when they are imported, so these come after use_threads
    from gyropilot.problems.tabular.reports import answers
    from gyropilot.problems.tabular.reports.kernel_shap import explainer_class

    explainer_class()
    with answers.best_model(task) as model:
        seconds = _MOST_SECONDS
        if task.seconds_left is not None:
            seconds = min(seconds, _SHARE * (task.seconds_left - (clock.monotonic() - started)))
        training, validation = answers.read_rows(task, "training"), answers.read_rows(task, "validation")
        write(task, model, training, validation, seconds=seconds, reporter=reporter)
    return tasks.to_json(ReportResult(artifacts={"Explainability": LOCATION}))


def write(
    task: ReportTask, model: Model, training: Frame, validation: Frame, *, seconds: float, reporter: Reporter
) -> Explanation:
    """Explain answers to validation rows against training rows, and write all files of the report.

    Raises:
        TrainingFailed: there is not the time to explain one row.
    """
    from gyropilot.problems.tabular import artifacts
    from gyropilot.problems.tabular.reports import explanation_notebook, explanation_page
    from gyropilot.problems.tabular.reports.kernel_shap import MOST_ROWS, explain_rows

    explained = explain_rows(
        model,
        validation.features.sample(min(MOST_ROWS, len(validation.target)), random_state=_SEED),
        training.features.sample(min(1000, len(training.target)), random_state=_SEED),
        seconds=seconds,
        progress=lambda done, total: reporter.progress("explaining", done=done, total=total, unit="rows"),
        seed=_SEED,
    )
    folder = task.output / LOCATION / task.candidate
    labels = labels_of(model.schema, explained)
    analysis = _analysis(explained, labels)
    artifacts.write_json(folder / "analysis.json", analysis)
    _write_values(folder / "explanations_shap", explained, labels)
    page = explanation_page.html(task, model.schema, explained)
    (folder / "report.html").write_text(page, encoding="utf-8")
    explanation_notebook.write(folder / "report.ipynb", task, model.schema, explained)
    strongest = ranked(explained)[:SHOWN_FEATURES]
    artifacts.write_json(task.prepared / KEPT, {"candidate": task.candidate, "strongest": strongest})
    return explained


def labels_of(schema: Schema, explained: Explanation) -> list[str]:
    """Give the name of each explained output."""
    if schema.problem_type == "MulticlassClassification":
        return [schema.labels[number] for number in explained.outputs]
    return ["label0"]


def player_names(explained: Explanation) -> list[str]:
    """Give how each player is called: its feature's name, or how many features it stands for."""
    return [one[0] if len(one) == 1 else f"({len(one)} other features)" for one in explained.players]


def ranked(explained: Explanation) -> list[tuple[str, float]]:
    """Give names and strengths, the strongest first; of several outputs the mean."""
    strengths = explained.strength.mean(axis=1).tolist()
    return sorted(zip(player_names(explained), strengths, strict=True), key=lambda one: -one[1])


def _analysis(explained: Explanation, labels: Sequence[str]) -> dict[str, Json]:
    names = player_names(explained)
    by_label = {
        label: {
            "global_shap_values": dict(zip(names, explained.strength[:, number].tolist(), strict=True)),
            "expected_value": float(explained.expected[number]),
        }
        for number, label in enumerate(labels)
    }
    return {"version": "1.0", "explanations": {"kernel_shap": by_label}}


def _write_values(folder: Path, explained: Explanation, labels: Sequence[str]) -> None:
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    names = player_names(explained)
    header = [f"{name}_{label}" for label in labels for name in names]
    # [row, player, output] -> [row, output, player]: features vary first, then labels
    values = explained.values.transpose(0, 2, 1).reshape(len(explained.values), -1)
    pd.DataFrame(values, columns=header).to_csv(folder / "out.csv", index=False)
    explained.baseline.to_csv(folder / "baseline.csv", index=False)
