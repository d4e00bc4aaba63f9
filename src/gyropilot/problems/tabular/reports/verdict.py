"""Says in a sentence whether to use a model, and what to watch; told at the top of the job's report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gyropilot.metrics.standard_metrics import STANDARD_METRICS
from gyropilot.problems.contract import Direction, Json, ReportTask
from gyropilot.problems.tabular.columns import Schema
from gyropilot.problems.tabular.reports.pages import number
from gyropilot.problems.tabular.reports.quality import LEAST_ROWS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_MARGIN_DEVIATIONS = 4.0
"""A draw of 80 % without replacement varies half as much as a new sample of as many rows would, so two deviations of
such samples are four of the draws'."""
_LEAST_SUPPORT = 5
_GAP = 0.1
"""Between training and validation, of what the metric may go from nothing to perfect, from which on it is told."""
_SHOWN = 5


def verdict(schema: Schema, section: Mapping[str, Json], rows: int) -> str:
    """Give the sentence: the model against the best one that answers all rows alike.

    Args:
        schema: the columns.
        section: as `quality` gives it.
        rows: how many it was measured on.
    """
    name, guessing, told = {
        "Regression": ("r2", 0.0, _told_regression),
        "BinaryClassification": ("auc", 0.5, _told_binary),
        "MulticlassClassification": ("accuracy", None, _told_multiclass),
    }[schema.problem_type]
    value, deviation = section[name]["value"], section[name]["standard_deviation"]
    numbers = told(schema, section)
    if value == "NaN":
        return f"Whether to use the model is not known: the validation rows are all of one kind. {numbers}"
    against = section[f"{name}_best_constant_classifier"]["value"] if guessing is None else guessing
    if value <= against:
        return f"Do not use the model: on the {rows} validation rows it is no better than guessing. {numbers}"
    if deviation == "NaN":
        return f"The model is better than guessing on only {rows} validation rows, too few to be sure. {numbers}"
    if value - against <= _MARGIN_DEVIATIONS * deviation:
        return f"Use the model with care: it is hardly better than guessing on the {rows} validation rows. {numbers}"
    return f"Use the model: on {rows} validation rows it is clearly better than guessing. {numbers}"


def warnings(
    task: ReportTask, schema: Schema, counts: npt.NDArray[np.int64] | None, *, rows: int, rows_known: int
) -> list[str]:
    """Give what to watch.

    Args:
        task: the report's; its result has the metrics, its profile the findings.
        schema: the columns.
        counts: [actual, predicted] rows of a classification.
        rows: how many the model was measured on.
        rows_known: how many validation rows there are.
    """
    told = []
    if rows < LEAST_ROWS:
        told.append(
            f"Only {rows} validation rows: the numbers may be far from those on new data; {LEAST_ROWS} or more"
            " would tell how far."
        )
    if rows < rows_known:
        told.append(f"The time was short: measured on {rows} of {rows_known} validation rows, drawn at random.")
    if task.result["ended_by"] != "finished":
        told.append(f"Training was ended by {_ENDED[task.result['ended_by']]}: more time may give a better model.")
    sampled_from = task.profile["rows"]["sampled_from"]
    if sampled_from:
        told.append(f"The rows are a sample of {sampled_from}: the data is larger than the memory that the job has.")
    told += _gap(task)
    if counts is not None:
        told += _missed_classes(schema, counts)
    findings = [one for one in task.profile["findings"] if one["severity"] == "warning"]
    return told + [f"In the data: {one['message']}" for one in findings[:_SHOWN]]


_ENDED = {"time limit": "its time limit", "stop": "the stop of the job"}


def _told_regression(schema: Schema, section: Mapping[str, Json]) -> str:
    rmse, r2 = section["rmse"]["value"], section["r2"]["value"]
    share = "" if r2 == "NaN" else f" and explains {max(0.0, r2):.1%} of how it varies (R2 {r2:.3f})"
    return f"It misses {schema.target} by {number(rmse)} (root of the mean squared error){share}."


def _told_binary(schema: Schema, section: Mapping[str, Json]) -> str:
    def value(name: str) -> str:
        found = section[name]["value"]
        return found if isinstance(found, str) else f"{found:.3f}"

    return (
        f"AUC {value('auc')} (guessing has 0.5); F1 of {schema.labels[1]!r} {value('f1')}, where answering always so"
        f" has {value('f1_best_constant_classifier')}; accuracy {value('accuracy')}, where the more frequent answer"
        f" alone has {value('accuracy_best_constant_classifier')}."
    )


def _told_multiclass(schema: Schema, section: Mapping[str, Json]) -> str:
    alone = section["accuracy_best_constant_classifier"]["value"]
    return (
        f"It answers {section['accuracy']['value']:.1%} of rows rightly among {len(schema.labels)} classes, where the"
        f" most frequent answer alone has {alone:.1%}; weighted F1 {section['weighted_f1']['value']:.3f}."
    )


def _gap(task: ReportTask) -> list[str]:
    """Say whether the model is much better on the rows it has seen."""
    name = task.result["score_name"]
    values = {one["split"]: one["value"] for one in task.result["metrics"] if one["name"] == name}
    if not {"Train", "Validation"} <= set(values) or name not in STANDARD_METRICS:
        return []
    seen, unseen = values["Train"], values["Validation"]
    if not _is_wide(STANDARD_METRICS[name].direction, seen, unseen):
        return []
    return [
        (
            f"On the rows it was trained on {name} is {number(seen)}, on others {number(unseen)}: only the latter"
            " tells what to expect. More rows, or fewer columns that say little, would bring them closer."
        )
    ]


def _is_wide(direction: Direction, seen: float, unseen: float) -> bool:
    return seen - unseen > _GAP if direction == "Maximize" else unseen > (1 + 5 * _GAP) * seen


def _missed_classes(schema: Schema, counts: npt.NDArray[np.int64]) -> list[str]:
    missed = [
        label
        for number, label in enumerate(schema.labels)
        if counts[number].sum() >= _LEAST_SUPPORT and counts[number, number] == 0
    ]
    if not missed:
        return []
    shown = ", ".join(map(repr, missed[:_SHOWN])) + (f" and {len(missed) - _SHOWN} more" * (len(missed) > _SHOWN))
    return [
        (
            f"None of the rows of {shown} is recognised; more rows of them, or an objective that counts classes alike"
            " (BalancedAccuracy, F1macro), would help."
        )
    ]
