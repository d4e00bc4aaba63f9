"""The data exploration notebook of a job: what its table holds, and what is worth a look before its models are used.

Profile writes it. It stands by itself: its tables are there unrun, and running it shows the same again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from gyropilot.data.frames import PARQUET
from gyropilot.problems.contract import Json, ProfileTask
from gyropilot.problems.tabular import tables
from gyropilot.problems.tabular.columns import Schema, read_schema
from gyropilot.problems.tabular.reports.notebooks import Notebook, Rows, literal
from gyropilot.problems.tabular.reports.prediction_power import prediction_powers
from gyropilot.problems.tabular.reports.table_sample import oddness, sample
from gyropilot.problems.tabular.tables import Frame

NOTEBOOK = "notebooks/SageMakerAutopilotDataExplorationNotebook.ipynb"
_MOST_COLUMNS, _SAMPLE_COLUMNS, _CORRELATED, _SHOWN_ROWS, _ODD_ROWS, _MOST_CLASSES = 300, 30, 15, 10, 5, 100
_BAR = 30
_SEVERITY = {"dropped": "rows left out", "warning": "high", "note": "low"}

_DEFINITIONS = """## Definitions

- **Prediction power**: how well a column by itself tells the target, 0 to 1. A row's target is guessed from other rows
  with the same value (of numbers and dates: the same twentieth). Of a regression it is R2 of these guesses, of classes
  twice the AUC less 1. Near 1, ask whether the column is known when you predict, or is made from the target.
- **Kind**: numeric, categorical, text, datetime or sequence, told from the values; a feature specification file
  overrules it. A column that is *left out* counts rows or names them, and says nothing about others.
- **Stray values**: what is not of the column's kind, and is taken as missing.
- **Oddness**: the lower it is, the sooner an isolation forest tells the row apart from the others of this table."""

_READ = """## Reading the data yourself

```python
import io

import boto3
import pandas as pd

# With gyropilot, run `eval "$(gyropilot env)"` before: boto3 then finds the address and the keys.
body = boto3.client("s3").get_object(Bucket=BUCKET, Key=KEY)["Body"].read()
frame = {call}
```

The files of the job: {files}"""


def write(task: ProfileTask, profile: Mapping[str, Json], folder: Path) -> None:
    """Write the notebook into `folder`, which lies in the task's output folder.

    Args:
        task: what profile was given; its prepared folder holds the training rows.
        profile: what it will return.
        folder: made if it is not there.
    """
    schema = read_schema(profile["schema"])
    frame = sample(task.prepared / tables.TRAINING_FILE, schema)
    powers = prediction_powers(frame, schema)
    ranked = sorted(powers, key=lambda name: _rank(powers[name]))
    book = Notebook()
    _summary(book, profile, schema)
    _target(book, profile, schema)
    _sample(book, frame, schema, powers, ranked)
    _duplicates(book, profile)
    _correlations(book, frame, schema, ranked)
    _odd_rows(book, frame, schema, ranked)
    _columns(book, profile, ranked)
    book.text(_DEFINITIONS)
    channel = task.channels[0]
    call = "pd.read_csv(io.BytesIO(body))"
    if channel.content_type == PARQUET:
        call = "pd.read_parquet(io.BytesIO(body))"
    elif channel.compression == "Gzip":
        call = 'pd.read_csv(io.BytesIO(body), compression="gzip")'
    book.text(_READ.format(call=call, files=", ".join(literal(one["uri"]) for one in profile["files"][:20])))
    book.write(folder / NOTEBOOK)


def _summary(book: Notebook, profile: Mapping[str, Json], schema: Schema) -> None:
    rows = profile["rows"]
    sampled = ""
    if rows["sampled_from"]:
        sampled = f"- a sample of {rows['sampled_from']} usable rows, since the data is larger than the job's memory\n"
    used = sum(not one.is_ignored for one in schema.features)
    book.text(
        f"# Data exploration: {literal(profile['job_name'])}\n\nWritten before training, from the training rows;"
        " prediction powers, correlations and odd rows are those of a random sample of at most 20,000 rows.\n\n"
        f"## Dataset summary\n\n- {rows['read']} rows read, {rows['dropped']} left out, {rows['training']} to train on,"
        f" {rows['validation']} to validate on\n{sampled}- {used} columns to predict"
        f" {literal(schema.target)} from ({schema.problem_type})"
    )
    book.data()
    findings = profile["findings"]
    if not findings:
        book.text("Nothing in the data stands out.")
        return
    book.table(
        "findings",
        ("severity", "finding", "first places"),
        [
            (_SEVERITY.get(one["severity"], one["severity"]), one["message"], ", ".join(one.get("rows", [])[:3]))
            for one in findings
        ],
    )


def _target(book: Notebook, profile: Mapping[str, Json], schema: Schema) -> None:
    target = profile["target"]
    bad = ", ".join(f"{count} {literal(what)}" for what, count in target.get("bad", {}).items())
    told = f" Left out for their target: {bad}." if bad else ""
    book.text(f"## Target analysis\n\n{literal(schema.target)}.{told}")
    if schema.is_regression:
        names = ("min", "max", "mean", "deviation")
        book.table("target", (*names, "quartiles"), [(*(target.get(one) for one in names), _list(target["quartiles"]))])
        if "histogram" in target:
            edges, counts = target["histogram"]["edges"], target["histogram"]["counts"]
            rows = [
                (f"{low:.6g} to {high:.6g}", count, _bar(count, max(counts)))
                for low, high, count in zip(edges, edges[1:], counts, strict=False)
            ]
            book.table("target values", ("values", "rows", ""), rows)
        return
    training, validation = target["training"], target["validation"]
    total, most = sum(training.values()) or 1, max(training.values(), default=1)
    ordered = sorted(training, key=lambda label: -training[label])
    if len(ordered) > _MOST_CLASSES:
        book.text(f"The {_MOST_CLASSES} largest of {len(ordered)} classes.")
    book.table(
        "target",
        ("class", "training rows", "share", "validation rows", ""),
        [
            (label, training[label], training[label] / total, validation.get(label, 0), _bar(training[label], most))
            for label in ordered[:_MOST_CLASSES]
        ],
    )


def _sample(
    book: Notebook, frame: Frame, schema: Schema, powers: Mapping[str, float | None], ranked: Sequence[str]
) -> None:
    kinds = {one.name: "left out" if one.is_ignored else one.kind for one in schema.features}
    shown = ranked[:_MOST_COLUMNS]
    told = f" The strongest {len(shown)} of {len(ranked)} columns." if len(shown) < len(ranked) else ""
    book.text(f"## Data sample\n\nColumns by prediction power, empty where it is not computed.{told}")
    rows = [(name, kinds[name], powers[name], _bar(powers[name] or 0.0, 1.0)) for name in shown]
    book.table("prediction power", ("column", "kind", "prediction power", ""), rows)
    columns = [name for name in ranked if kinds[name] != "left out"][:_SAMPLE_COLUMNS]
    book.text("Some training rows.")
    book.table("sample", (*columns, schema.target), _rows(frame, schema, columns, range(_SHOWN_ROWS)))


def _duplicates(book: Notebook, profile: Mapping[str, Json]) -> None:
    found = [one for one in profile["findings"] if one["kind"] in ("duplicate", "in_both_splits")]
    told = "\n".join(f"- {literal(one['message'])}" for one in found) or "No training row repeats another one."
    book.text(f"## Duplicate rows\n\n{told}")


def _correlations(book: Notebook, frame: Frame, schema: Schema, ranked: Sequence[str]) -> None:
    numeric = set(schema.of_kind("numeric"))
    names = [one for one in ranked if one in numeric and frame.features[one].nunique() > 1][:_CORRELATED]
    book.text("## Cross column correlation\n\nPearson's, between the numeric columns that tell most of the target.")
    if len(names) < 2:
        book.text("There are not two numeric columns to compare.")
        return
    columns = frame.features[names]
    if schema.is_regression:
        columns = columns.assign(**{schema.target: frame.target})
    with np.errstate(all="ignore"):
        found = columns.corr().to_numpy()
    rows = [
        (name, *(float(one) if np.isfinite(one) else None for one in line))
        for name, line in zip(columns.columns, found, strict=True)
    ]
    book.table("correlation", ("", *columns.columns), rows)
    pairs = [
        f"{names[left]} and {names[right]} ({found[left, right]:.2f})"
        for left in range(len(names))
        for right in range(left + 1, len(names))
        if abs(found[left, right]) > 0.95
    ]
    if pairs:
        book.text(f"These say nearly the same: {literal(', '.join(pairs[:20]))}.")


def _odd_rows(book: Notebook, frame: Frame, schema: Schema, ranked: Sequence[str]) -> None:
    usual = oddness(frame, schema, list(ranked))
    book.text("## Anomalous rows")
    if not len(usual):
        book.text("No column or too few rows to judge by.")
        return
    places = np.argsort(usual, kind="stable")[:_ODD_ROWS]
    kept = {one.name for one in schema.features if not one.is_ignored}
    columns = [name for name in ranked if name in kept][:_SAMPLE_COLUMNS]
    book.text(
        f"Of {len(usual)} rows looked at those that are told apart soonest. Every table has some: look at their values."
    )
    rows = [
        (float(usual[place]), *row)
        for place, row in zip(places, _rows(frame, schema, columns, places.tolist()), strict=True)
    ]
    book.table("odd rows", ("oddness", *columns, schema.target), rows)


def _columns(book: Notebook, profile: Mapping[str, Json], ranked: Sequence[str]) -> None:
    described = {one["name"]: one for one in profile["columns"]}
    columns = [described[name] for name in ranked[:_MOST_COLUMNS] if name in described]
    book.text("## Missing values and cardinality\n\nOver all training rows.")
    rows = [
        (one["name"], one["missing"], one["missing"] / max(1, one["rows"]), one["unique"], one["stray"])
        for one in columns
    ]
    book.table("missing", ("column", "missing", "share", "different values", "stray values"), rows)
    book.text("## Descriptive statistics\n\nOver all training rows.")
    names = ("min", "max", "mean", "deviation")
    ordered = [one for one in columns if "min" in one]
    if ordered:
        numbers = [
            (one["name"], *(one.get(name) for name in names), _list(one.get("quartiles", ()))) for one in ordered
        ]
        book.table("numbers and dates", ("column", *names, "quartiles"), numbers)
    named = [one for one in columns if "top" in one]
    if named:
        tops = [
            (one["name"], "; ".join(f"{str(value)[:40]} ({count})" for value, count in one["top"][:5])) for one in named
        ]
        book.table("values", ("column", "most frequent values"), tops)


def _rows(frame: Frame, schema: Schema, columns: Sequence[str], places: Iterable[int]) -> Rows:
    """Give the fields of some rows with their target, fit for a table."""
    chosen = [place for place in places if place < len(frame.target)]
    target = [
        float(frame.target[place]) if schema.is_regression else schema.labels[int(frame.target[place])]
        for place in chosen
    ]
    fields = [[_field(frame.features[name].iloc[place]) for name in columns] for place in chosen]
    return [[*row, said] for row, said in zip(fields, target, strict=True)]


def _field(value: object) -> str | float | None:
    if value is None or value != value:  # NaN and NaT differ from themselves
        return None
    return float(value) if isinstance(value, (float, np.floating)) else str(value)[:80]


def _rank(power: float | None) -> float:
    """Give the place of a power among others: the strongest first, those not computed last."""
    return 1.0 if power is None else -power


def _bar(value: float, most: float) -> str:
    return "█" * round(_BAR * value / most) if most else ""


def _list(values: Iterable[float]) -> str:
    return ", ".join(f"{one:.6g}" for one in values)
