"""The page of the explainability report: the strongest features, and how their values move the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gyropilot.problems.contract import Json, ReportTask
from gyropilot.problems.tabular.columns import Schema
from gyropilot.problems.tabular.reports import explainability, figures
from gyropilot.problems.tabular.reports.kernel_shap import Explanation
from gyropilot.problems.tabular.reports.pages import Page, number

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_DRAWN_FEATURES = 4
_SHOWN_VALUES = 12
_LEAKING_SHARE = 0.8
"""Of the sum of all strengths: one feature above it is worth a question."""


def html(task: ReportTask, schema: Schema, explained: Explanation) -> str:
    """Give the page."""
    ranked = explainability.ranked(explained)
    page = Page(f"Explainability report: {task.job_name}", f"{task.candidate}, {schema.problem_type}")
    page.paragraph(verdict(schema, ranked), kind="verdict")
    if warning := leak_warning(schema, ranked):
        page.paragraph(warning, kind="verdict watch")
    page.heading("Strongest features")
    shown = ranked[: explainability.SHOWN_FEATURES]
    page.figures([(figures.bars(shown, x="mean |SHAP value|"), _meaning(schema))])
    total = sum(strength for _, strength in ranked) or 1.0
    rows = [[str(place), name, number(value), f"{value / total:.1%}"] for place, (name, value) in enumerate(shown, 1)]
    page.table(("", "Feature", "Mean |SHAP value|", "Share"), rows, numbers=(0, 2, 3))
    if schema.problem_type == "MulticlassClassification":
        page.heading("By class")
        _classes(page, schema, explained)
    elif drawn := _by_value(schema, explained, [name for name, _ in shown]):
        page.heading("How their values move the answer")
        page.figures(drawn)
    page.heading("How it was computed")
    page.items(_method(schema, explained))
    return page.html()


def verdict(schema: Schema, ranked: list[tuple[str, float]]) -> str:
    """Say which features move the answers most."""
    names = [name for name, strength in ranked[:3] if strength > 0]
    if not names:
        return f"No feature moves the answers for {schema.target}: the model answers all rows alike."
    told = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"The answers for {schema.target} are moved most by {told}."


def leak_warning(schema: Schema, ranked: list[tuple[str, float]]) -> str:
    """Say whether one feature explains nearly all; empty where none does."""
    total = sum(strength for _, strength in ranked)
    if len(ranked) < 3 or total <= 0 or ranked[0][1] < _LEAKING_SHARE * total:
        return ""
    return (
        f"{ranked[0][0]} alone makes {ranked[0][1] / total:.0%} of what moves the answers. Make sure that its value is"
        f" known before {schema.target} is, and is not made from it: else the model is useless where it is needed."
    )


def _meaning(schema: Schema) -> str:
    if schema.is_regression:
        return f"By how much a feature moves the estimate of {schema.target} on average, up or down, in its own unit."
    of = f"of {schema.labels[1]!r}" if len(schema.labels) == 2 else "of a class, as a mean over the classes,"
    return f"By how much a feature moves the probability {of} on average, up or down; 0.1 is ten points in a hundred."


def _classes(page: Page, schema: Schema, explained: Explanation) -> None:
    names = explainability.player_names(explained)
    rows = []
    for place, label in enumerate(explainability.labels_of(schema, explained)):
        strengths = explained.strength[:, place]
        strongest = [f"{names[at]} {strengths[at]:.3g}" for at in (-strengths).argsort()[:3]]
        rows.append([label, number(float(explained.expected[place])), ", ".join(strongest)])
    page.table(("Class", "Mean probability", "Strongest features, with mean |SHAP value|"), rows, numbers=(1,))


def _by_value(schema: Schema, explained: Explanation, shown: list[str]) -> list[tuple[figures.Figure, str]]:
    kinds = {one.name: one.kind for one in schema.features}
    names = explainability.player_names(explained)
    drawn = []
    for name in [one for one in shown if one in kinds][:_DRAWN_FEATURES]:
        values = explained.values[:, names.index(name), 0]
        figure = _drawn(explained.rows[name], values, kinds[name], name)
        if figure is not None:
            drawn.append((figure, f"{name}: its part in the answer, by its value."))
    return drawn


def _drawn(column: Json, values: npt.NDArray[np.float64], kind: str, name: str) -> figures.Figure | None:
    """Give points by value of a number, and mean parts by value of a category; None where values are too many."""
    known = column.notna().to_numpy()
    if kind == "numeric" and known.any():
        across = column.to_numpy()[known]
        span = (float(across.min()), 0.0, float(across.max()), 0.0)
        return figures.points(across.tolist(), values[known].tolist(), x=name, y="SHAP value", line=span)
    if kind != "categorical":
        return None
    means = {str(value): float(values[places].mean()) for value, places in column.groupby(column).indices.items()}
    if not known.all():
        means["(missing)"] = float(values[~known].mean())
    if not 0 < len(means) <= _SHOWN_VALUES:
        return None
    return figures.bars(sorted(means.items(), key=lambda one: -one[1]), x="mean SHAP value")


def _method(schema: Schema, explained: Explanation) -> list[str]:
    plan = explained.plan
    told = [
        (
            f"Kernel SHAP on {len(explained.rows)} rows of the validation data, drawn at random: a feature's value is"
            " what it adds to the answer, so a row's values and the mean answer to the baseline sum to the"
            " model's answer."
        ),
        (
            f"The baseline is {len(explained.baseline)} rows of the training data at even steps of the model's answers"
            " (explanations_shap/baseline.csv)."
        ),
        (
            f"{plan.coalitions} sets of features were tried for each row, as many as the time allowed of up to"
            f" {2 * len(explained.players) + 1024}, or all there are."
        ),
        "Features that say the same share their part, and a part is no proof of a cause.",
    ]
    joined = next((one for one in explained.players if len(one) > 1), ())
    if joined:
        told.append(
            f"{len(joined)} features that hardly move the answers when their values are exchanged were taken together."
        )
    if len(explained.outputs) < len(schema.labels) and len(schema.labels) > 2:
        told.append(f"Of {len(schema.labels)} classes the {len(explained.outputs)} likeliest were explained.")
    return told
