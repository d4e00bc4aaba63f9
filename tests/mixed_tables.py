"""A small table with a column of every kind and a target that follows from some of them: of the tests of tuning."""

from __future__ import annotations

import csv

import numpy as np
import pandas as pd

from gyropilot.problems.contract import Limits
from gyropilot.problems.tabular.columns import Column, Schema
from gyropilot.problems.tabular.request import TabularSpec
from gyropilot.problems.tabular.tables import Frame

LABELS = {"BinaryClassification": ("no", "yes"), "MulticlassClassification": ("high", "low", "mid"), "Regression": ()}
KINDS = {
    "a number, and a comma": "numeric",
    "holes": "numeric",
    "empty": "numeric",
    "colour": "categorical",
    "day": "datetime",
    "curve": "sequence",
    "note": "text",
}


def features_of(rows, seed=0):
    """Half of the signal is in the number, the rest in the colour and in the words of the note."""
    rng = np.random.default_rng(seed)
    features = pd.DataFrame(
        {
            "a number, and a comma": rng.normal(size=rows),
            "holes": np.where(rng.random(rows) < 0.2, np.nan, rng.normal(size=rows) * 1e6),
            "empty": np.full(rows, np.nan),
            "colour": rng.choice(["red", "grün", "blue"], rows).astype(object),
            "day": pd.to_datetime(rng.integers(10**9, 2 * 10**9, rows) * 10**9).astype("datetime64[ns]"),
            "curve": [",".join(map(str, rng.normal(size=rng.integers(0, 6)).round(2))) or None for _ in range(rows)],
            "note": [" ".join(rng.choice(["good", "bad", "fine", "very", "ugly"], 4)) for _ in range(rows)],
        }
    )
    features.loc[rng.random(rows) < 0.1, "colour"] = None
    features.loc[rng.random(rows) < 0.1, "day"] = pd.NaT
    features["curve"] = features["curve"].astype(object)
    return features


def target_of(features, problem_type):
    signal = (
        features["a number, and a comma"]
        + (features["colour"] == "red") * 1.5
        - features["note"].str.count("bad").to_numpy()
    ).to_numpy()
    if problem_type == "Regression":
        return signal * 50 + 1000
    bounds = [0.0] if problem_type == "BinaryClassification" else [-0.8, 0.4]
    order = np.asarray([0, 1] if problem_type == "BinaryClassification" else [1, 2, 0])
    return order[np.digitize(signal, bounds)]


def frame_of(problem_type, rows=300, seed=0):
    features = features_of(rows, seed)
    return Frame(features=features, target=target_of(features, problem_type), weights=None)


def schema_of(problem_type):
    columns = tuple(Column(name=name, kind=kind) for name, kind in KINDS.items())
    labels = LABELS[problem_type]
    return Schema(features=columns, target="answer", weight=None, problem_type=problem_type, labels=labels)


def spec_of(problem_type, objective, **changes):
    given = {
        "target": "answer",
        "mode": "HYPERPARAMETER_TUNING",
        "problem_type": problem_type,
        "objective": objective,
        "algorithms": (),
        "definitions_only": False,
        "feature_specification_uri": None,
        "weight_column": None,
        "validation_fraction": 0.2,
        "seed": 42,
        "limits": Limits(max_candidates=20, seconds_per_candidate=None, seconds_per_job=None),
        "defaulted": (),
    }
    return TabularSpec(**{**given, **changes})


def write_csv(path, problem_type, rows=300):
    frame = frame_of(problem_type, rows)
    labels = LABELS[problem_type]
    answers = [labels[one] for one in frame.target] if labels else frame.target.tolist()
    written = frame.features.assign(answer=answers)
    written.to_csv(path, index=False, quoting=csv.QUOTE_MINIMAL)
