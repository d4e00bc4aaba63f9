"""The job's report as a page: whether to use the best model, what to watch, its numbers, figures, data and settings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from gyropilot.problems.contract import Json, ReportTask
from gyropilot.problems.tabular.columns import Schema
from gyropilot.problems.tabular.reports import curves, figures, quality, verdict
from gyropilot.problems.tabular.reports.answers import Answers
from gyropilot.problems.tabular.reports.figures import Figure
from gyropilot.problems.tabular.reports.pages import Page, number

_SHOWN_CANDIDATES, _SHOWN_SETTINGS = 10, 4
_SHOWN_LABELS, _SHOWN_POINTS, _SHOWN_FILES, _BINS = 15, 1500, 50, 30
_KEPT_FOR_SEARCH = re.compile(r"fold_score|candidate|score_at_.*")
"""Names among a candidate's settings under which the search keeps what it goes by; no settings."""
_DIRECTIONS = {"Maximize": "higher is better", "Minimize": "lower is better"}


def html(
    task: ReportTask,
    schema: Schema,
    said: Answers,
    statistics: Mapping[str, Json],
    *,
    strongest: Sequence[tuple[str, float]],
) -> str:
    """Give the page.

    Args:
        task: the report's.
        schema: the columns.
        said: the model's answers to the validation rows.
        statistics: what statistics.json holds.
        strongest: features and their strengths, of the explainability report; empty where there is none.
    """
    section = statistics[quality.SECTIONS[schema.problem_type]]
    counts = None if schema.is_regression else quality.confusion(said, len(schema.labels))
    page = Page(f"Model report: {task.job_name}", f"{task.candidate}, predicts {schema.target}")
    page.paragraph(verdict.verdict(schema, section, said.rows), kind="verdict")
    watched = verdict.warnings(task, schema, counts, rows=said.rows, rows_known=said.rows_known)
    if watched:
        page.heading("What to watch")
        page.items(watched)
    _job(page, task, schema, said, statistics)
    if len(task.candidates) > 1:
        _candidates(page, task)
    _metrics(page, task, section)
    if counts is None:
        _regression(page, schema, said)
    else:
        if len(schema.labels) == 2:
            _binary(page, schema, said, section)
        _confusion(page, schema, counts)
        if said.weights is not None:
            page.paragraph("Here rows count alike, whatever their sample weights.")
    if strongest:
        page.heading("Strongest features")
        page.figures([(figures.bars(strongest, x="mean |SHAP value|"), "From the explainability report.")])
    _data(page, task)
    _settings(page, task)
    return page.html()


def _settings(page: Page, task: ReportTask) -> None:
    page.heading("Settings that training chose")
    chosen = {name: value for name, value in task.result["chosen"].items() if not _KEPT_FOR_SEARCH.fullmatch(name)}
    page.table(("Setting", "Value"), [[name, str(value)] for name, value in chosen.items()])


def _job(page: Page, task: ReportTask, schema: Schema, said: Answers, statistics: Mapping[str, Json]) -> None:
    page.heading("Job")
    result = task.result
    facts = [
        ["Candidate", task.candidate],
        ["Job", task.job_name],
        ["Mode", task.profile["mode"]],
        ["Problem type", schema.problem_type],
        ["Objective", f"{result['score_name']}, {_DIRECTIONS[result['direction']]}: {number(result['score'])}"],
        ["Measured on", f"{said.rows} validation rows, {statistics['dataset']['evaluation_time']}"],
    ]
    if said.weights is not None:
        facts.append(["Weights", f"rows count by {schema.weight}, but in the confusion matrix"])
    page.table(("What", "Value"), facts)


def _candidates(page: Page, task: ReportTask) -> None:
    """Show the best of them, and on which settings they differ."""
    page.heading("Against the other candidates")
    shown = task.candidates[:_SHOWN_CANDIDATES]
    page.paragraph(
        f"The {len(shown)} best of {len(task.candidates)} with a score, by {task.result['score_name']}"
        f" ({_DIRECTIONS[task.result['direction']]}).",
        kind="note",
    )
    rows = [[one["name"], number(one["score"]), f"{one['seconds']:.0f}", _told(one.get("chosen", {}))] for one in shown]
    page.table(("Candidate", task.result["score_name"], "Seconds", "What it is"), rows, numbers=(1, 2))


def _told(chosen: Mapping[str, Json]) -> str:
    """Give the first settings that are names or whole numbers: algorithm, pipeline, models..."""
    named = [
        f"{name} {value}"
        for name, value in chosen.items()
        if isinstance(value, (str, int)) and not isinstance(value, bool) and not _KEPT_FOR_SEARCH.fullmatch(name)
    ]
    return ", ".join(named[:_SHOWN_SETTINGS])


def _metrics(page: Page, task: ReportTask, section: Mapping[str, Json]) -> None:
    page.heading("Metrics")
    values = {(one["name"], one["split"]): one["value"] for one in task.result["metrics"]}
    names = dict.fromkeys(name for name, _ in values)

    def shown(name: str, split: str) -> str:
        return number(values[name, split]) if (name, split) in values else ""

    page.table(
        ("Metric", "Training rows", "Validation rows"),
        [[name, shown(name, "Train"), shown(name, "Validation")] for name in names],
        numbers=(1, 2),
    )
    rows = [
        [name, *map(number, measured.values())]
        for name, measured in section.items()
        if isinstance(measured, dict) and set(measured) == {"value", "standard_deviation"}
    ]
    page.paragraph(
        "Model quality as statistics.json has it; the deviation is that of five random draws of 80 % of the rows.",
        kind="note",
    )
    page.table(("Measure", "Value", "Standard deviation"), rows, numbers=(1, 2))


def _binary(page: Page, schema: Schema, said: Answers, section: Mapping[str, Json]) -> None:
    page.heading("Ranking")
    drawn = [_class_histogram(schema, said)]
    if section["receiver_operating_characteristic_curve"]["true_positive_rates"]:
        drawn = [*_curves(repr(schema.labels[1]), said, section), *drawn]
    page.figures(drawn)


def _curves(positive: str, said: Answers, section: Mapping[str, Json]) -> list[tuple[Figure, str]]:
    """Draw ROC, precision and recall, gain and lift; each with its caption."""
    roc, recall = section["receiver_operating_characteristic_curve"], section["precision_recall_curve"]
    ranked = curves.gain(said)
    base = float(np.average(said.truth, weights=said.weights))
    found, likeliest = ("false positive rate", "true positive rate"), "share of rows, likeliest first"
    return [
        (
            _curve(roc["false_positive_rates"], roc["true_positive_rates"], found, reference=((0, 1), (0, 1))),
            f"ROC: rows of {positive} found against others taken for them, over all thresholds.",
        ),
        (
            _curve(recall["recalls"], recall["precisions"], ("recall", "precision"), reference=((0, 1), (base, base))),
            f"Precision and recall of {positive}; area {section['au_prc']['value']:.3f}.",
        ),
        (
            _curve(ranked["shares"], ranked["gains"], (likeliest, "gain"), reference=((0, 1), (0, 1))),
            f"Gain: what share of {positive} is among the rows ranked highest.",
        ),
        (
            figures.lines(
                [("model", ranked["shares"], ranked["lifts"])],
                x=likeliest,
                y="lift",
                unit_square=False,
                reference=((0, 1), (1, 1)),
            ),
            "Lift: gain against a random choice of as many rows.",
        ),
    ]


def _curve(
    across: Sequence[float],
    up: Sequence[float],
    axes: tuple[str, str],
    *,
    reference: tuple[tuple[float, float], tuple[float, float]],
) -> Figure:
    """Draw a curve of the model in the unit square."""
    return figures.lines([("model", across, up)], x=axes[0], y=axes[1], reference=reference)


def _class_histogram(schema: Schema, said: Answers) -> tuple[Figure, str]:
    assert said.probabilities is not None
    edges = np.linspace(0, 1, _BINS + 1)
    counts = {
        label: np.histogram(said.probabilities[said.truth == place, 1], edges)[0].tolist()
        for place, label in enumerate(schema.labels)
    }
    of = f"probability of {schema.labels[1]!r}"
    return figures.histogram(edges.tolist(), counts, x=of, y="rows"), "Rows by class."


def _confusion(page: Page, schema: Schema, counts: npt.NDArray[np.int64]) -> None:
    page.heading("Classes")
    support = counts.sum(axis=1)
    shown = np.sort(np.argsort(-(support + counts.sum(axis=0)), kind="stable")[:_SHOWN_LABELS])
    names = [schema.labels[place] for place in shown]
    cells = [[int(counts[row, column]) if support[row] else None for column in shown] for row in shown]
    caption = "Rows by actual and predicted class; coloured by the share of the actual class's rows."
    if len(shown) < len(schema.labels):
        caption += f" The {len(shown)} largest of {len(schema.labels)} classes."
    page.figures([(figures.matrix(cells, names, x="predicted", y="actual"), caption)])
    rows = [_class_row(schema.labels[place], counts, place) for place in np.argsort(-support, kind="stable")[:100]]
    page.table(("Class", "Rows", "Predicted", "Precision", "Recall", "F1"), rows, numbers=(1, 2, 3, 4, 5))


def _class_row(label: str, counts: npt.NDArray[np.int64], place: int) -> list[str]:
    support, said, right = int(counts[place].sum()), int(counts[:, place].sum()), int(counts[place, place])
    precision, recall = right / said if said else 0.0, right / support if support else 0.0
    measures = [precision, recall, quality.f_score(precision, recall, 1.0)]
    return [label, str(support), str(said), *(f"{one:.3f}" if support else "" for one in measures)]


def _regression(page: Page, schema: Schema, said: Answers) -> None:
    page.heading("Residuals")
    residuals = said.truth - said.predicted
    with np.errstate(over="ignore", invalid="ignore"):
        spread = float(residuals.std())
    spread = spread if spread and np.isfinite(spread) else 1.0
    truth, predicted = said.truth[:_SHOWN_POINTS].tolist(), said.predicted[:_SHOWN_POINTS].tolist()
    low, high = min(*truth, *predicted), max(*truth, *predicted)
    edges = _edges(np.asarray(residuals, dtype=np.float64))
    counts, _ = np.histogram(residuals, edges)
    page.figures(
        [
            (
                figures.points(truth, predicted, x="actual", y="predicted", line=(low, low, high, high)),
                f"{schema.target} as it is and as it is estimated; on the dotted line they are equal.",
            ),
            (
                figures.points(
                    predicted,
                    (residuals[:_SHOWN_POINTS] / spread).tolist(),
                    x="predicted",
                    y="standardised residual",
                    line=(min(predicted), 0.0, max(predicted), 0.0),
                ),
                "Actual minus predicted, in standard deviations: a pattern is something the model has not learned.",
            ),
            (
                figures.histogram(edges.tolist(), {"rows": counts.tolist()}, x="actual - predicted", y="rows"),
                "How often it misses by how much.",
            ),
        ]
    )


def _edges(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Give the edges of bins, of values that lie too near to each other to be parted of a single one."""
    low, high = float(values.min()), float(values.max())
    edges = np.unique(np.linspace(low, high, _BINS + 1))
    return edges if len(edges) > 1 else np.array([low - abs(low) / 100 - 1, high + abs(high) / 100 + 1])


def _data(page: Page, task: ReportTask) -> None:
    page.heading("Data")
    rows = task.profile["rows"]
    told = {"read": "read", "dropped": "left out", "training": "to train on", "validation": "to validate on"}
    page.paragraph("Rows: " + ", ".join(f"{rows[name]} {what}" for name, what in told.items()) + ".")
    findings = [[one["severity"], one["message"]] for one in task.profile["findings"]]
    if findings:
        page.table(("Severity", "Finding"), findings)
    files = [[one["uri"], str(one["rows"])] for one in task.profile["files"][:_SHOWN_FILES]]
    page.table(("File", "Rows"), files, numbers=(1,))
