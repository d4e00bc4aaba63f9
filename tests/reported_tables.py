"""Small tables with a known answer and models of scikit-learn that learned them, for the tests of reports."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression

from gyropilot.problems.contract import ReportTask
from gyropilot.problems.tabular.columns import Column, Schema
from gyropilot.problems.tabular.tables import Frame

CANARY = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{}*\u202e"
FEATURES = (
    Column(name="row", kind="categorical", is_ignored=True),
    Column(name="tenure", kind="numeric"),
    Column(name=f"plan {CANARY}", kind="categorical"),
    Column(name="joined", kind="datetime"),
    Column(name="note", kind="text"),
)
LABELS = {
    "BinaryClassification": ("stays", f"goes {CANARY}"),
    "MulticlassClassification": ("low", f"mid {CANARY}", "high"),
    "Regression": (),
}


class Fitted:
    """A model of scikit-learn's as the house sees one; `matrix` makes numbers of features."""

    def __init__(self, schema, estimator, matrix):
        self.schema, self.threshold, self.estimator, self.matrix = schema, 0.5, estimator, matrix

    def predict_numbers(self, features):
        return self.estimator.predict(self.matrix(features))

    def predict_probabilities(self, features):
        return self.estimator.predict_proba(self.matrix(features))


class Recorder:
    """A reporter that keeps what it is told."""

    def __init__(self):
        self.progressed = []

    def progress(self, phase, *, done, total, unit, values=None):
        self.progressed.append((phase, done, total))


def schema_of(problem_type):
    labels = LABELS[problem_type]
    return Schema(features=FEATURES, target="churn", weight=None, problem_type=problem_type, labels=labels)


def frame_of(problem_type, rows, seed):
    """Give rows whose target goes by tenure and plan alone; some values are missing."""
    rng = np.random.default_rng(seed)
    tenure, plan = rng.uniform(0, 60, rows), rng.choice(["basic", "plus", "pro, max"], rows).astype(object)
    signal = tenure / 20 + (plan == "plus") + 0.3 * rng.normal(size=rows)
    tenure[rng.random(rows) < 0.1] = np.nan
    plan[rng.random(rows) < 0.1] = None
    features = pd.DataFrame(
        {
            "row": pd.Series([None] * rows, dtype=object),
            "tenure": tenure,
            FEATURES[2].name: plan,
            "joined": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 700, rows), unit="D"),
            "note": rng.choice(["all is well", "late again", "no answer"], rows).astype(object),
        }
    )
    bounds = {"Regression": [], "BinaryClassification": [2.2], "MulticlassClassification": [1.4, 2.6]}[problem_type]
    target = np.digitize(signal, bounds) if bounds else signal
    return Frame(features=features, target=target, weights=None)


def fitted(problem_type):
    """Give a model that learned the table."""
    return Fitted(schema_of(problem_type), _estimator(problem_type), matrix)


@functools.cache
def _estimator(problem_type):
    # A forest computes in one thread; boosted trees of scikit-learn take all cores, and crawl where these are busy.
    frame = frame_of(problem_type, 400, seed=1)
    kind = RandomForestRegressor if problem_type == "Regression" else RandomForestClassifier
    estimator = kind(n_estimators=15, min_samples_leaf=5, max_features=None, random_state=0)
    return estimator.fit(matrix(frame.features), frame.target)


def matrix(features):
    joined = (features["joined"] - pd.Timestamp("2024-01-01")).dt.days
    plans = [features[FEATURES[2].name] == one for one in ("basic", "plus", "pro, max")]
    return np.column_stack([features["tenure"], *plans, joined, features["note"].str.len()]).astype(np.float64)


def linear(columns, rows=300, seed=3):
    """Give a linear model of so many numbers, its coefficients falling from the first to the last, and its rows."""
    rng = np.random.default_rng(seed)
    names = [f"x{number}" for number in range(columns)]
    features = pd.DataFrame(rng.normal(size=(rows, columns)), columns=names)
    target = features.to_numpy() @ np.linspace(3, 0, columns)
    schema = Schema(
        features=tuple(Column(name=name, kind="numeric") for name in names),
        target="y",
        weight=None,
        problem_type="Regression",
        labels=(),
    )
    estimator = LinearRegression().fit(features.to_numpy(), target)
    return Fitted(schema, estimator, lambda asked: asked.to_numpy()), Frame(
        features=features, target=target, weights=None
    )


def task_of(folder, schema, **changes):
    """Give the task of a report whose files go below `folder`."""
    for name in ("prepared", "output", "model"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    scores = {"Regression": "MSE", "BinaryClassification": "F1", "MulticlassClassification": "Accuracy"}
    name = scores[schema.problem_type]
    direction = "Minimize" if name == "MSE" else "Maximize"
    metrics = [{"name": name, "split": split, "value": 0.5} for split in ("Train", "Validation")]
    task = ReportTask(
        job_name=f"churn {CANARY}",
        spec={},
        profile={
            "schema": schema.to_json(),
            "mode": "ENSEMBLING",
            "rows": {"read": 1000, "dropped": 3, "training": 400, "validation": 300, "sampled_from": None},
            "findings": [{"severity": "warning", "message": f"column note {CANARY} says nothing"}],
            "files": [{"uri": f"s3://data/{CANARY}.csv", "rows": 1000}],
        },
        candidate="churn-trial-t1-1",
        result={
            "score": 0.5,
            "score_name": name,
            "direction": direction,
            "metrics": metrics,
            "containers": [{"model_path": "model.tar.gz"}],
            "chosen": {"algorithm": CANARY},
            "ended_by": "finished",
        },
        model=folder / "model",
        prepared=folder / "prepared",
        output=folder / "output",
        output_uri="s3://out/churn",
        cores=1,
        memory_bytes=0,
        seconds_left=None,
    )
    return replace(task, **changes)
