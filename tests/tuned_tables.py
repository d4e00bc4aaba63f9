"""Small tables with a known answer, and models of the tuning mode that learned them, as their archives unpack."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gyropilot.problems.tabular import tables
from gyropilot.problems.tabular.columns import Column, Schema
from gyropilot.problems.tabular.hpo import fold_models
from gyropilot.problems.tabular.hpo.containers import Algorithm, FeatureTransform
from gyropilot.problems.tabular.hpo.fold_models import Learning, Rows
from gyropilot.problems.tabular.hpo.pipelines import pipeline_named

SETTINGS = {"linear-learner": {"penalty": 0.01}, "xgboost": {"max_depth": 4, "learning_rate": 0.3}}
PLANS = ("basic", "plus", "pro, max")
FEATURES = (
    Column(name="id", kind="categorical", is_ignored=True),
    Column(name="tenure", kind="numeric"),
    Column(name="plan", kind="categorical"),
    Column(name="joined", kind="datetime"),
)
LABELS = {
    "BinaryClassification": ("no", "yes, surely"),
    "MulticlassClassification": ("0", "1", "zwölf"),
    "Regression": (),
}


@dataclass(frozen=True)
class TunedTable:
    """A trained model's two folders, and rows with the answers that were learned."""

    schema: Schema
    transform: Path
    algorithm: Path
    rows: list[list[str]]
    target: np.ndarray
    """[row]: class numbers, or numbers."""

    def joined(self, folder):
        """Give both folders in one, as a whole model is loaded."""
        for one in (self.transform, self.algorithm):
            shutil.copytree(one, folder, dirs_exist_ok=True)
        return folder

    def csv(self, count):
        """Give the first rows as a payload."""
        return "".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in self.rows[:count]).encode()


def schema_of(problem_type):
    return Schema(
        features=FEATURES, target="churn", weight=None, problem_type=problem_type, labels=LABELS[problem_type]
    )


def draw_rows(count, *, seed=0):
    """Give rows of text, and for each the number that tells its answer: its tenure above what its plan asks for."""
    draw = np.random.default_rng(seed)
    tenures, plans = draw.integers(0, 100, count), draw.integers(0, 3, count)
    days = draw.integers(1, 28, count)
    rows = [
        [f"c-{number}", str(tenure), PLANS[plan], f"2024-02-{day:02}"]
        for number, (tenure, plan, day) in enumerate(zip(tenures, plans, days, strict=True))
    ]
    return rows, tenures - 20.0 * plans


def train(root, problem_type, *, pipeline, algorithm, threshold=0.5):
    """Train on 300 rows; gives what was learned in folders below `root`."""
    schema = schema_of(problem_type)
    rows, numbers = draw_rows(300)
    target = numbers
    if problem_type != "Regression":
        target = np.digitize(numbers, [20.0] if problem_type == "BinaryClassification" else [0.0, 40.0])
    features = tables.from_text(rows, schema)
    learned, matrix = FeatureTransform.fitted(schema, pipeline_named(pipeline), features, target, seed=1)
    learning = Learning(
        classes=len(schema.labels), objective="Accuracy" if schema.labels else "MSE", seed=1, threads=1, is_over=bool
    )
    halves = [np.arange(300) % 2 == fold for fold in (0, 1)]
    folds = [
        fold_models.learn(
            algorithm,
            Rows(matrix=matrix[half], target=target[half]),
            Rows(matrix=matrix[~half], target=target[~half]),
            SETTINGS[algorithm],
            learning,
        )
        for half in halves
    ]
    for name in ("transform", "algorithm"):
        (root / name).mkdir(parents=True)
    learned.save(root / "transform")
    Algorithm(schema, threshold, algorithm, folds).save(root / "algorithm", SETTINGS[algorithm])
    return TunedTable(
        schema=schema, transform=root / "transform", algorithm=root / "algorithm", rows=rows, target=target
    )
