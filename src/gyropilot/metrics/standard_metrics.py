"""The metrics of tables by their StandardMetricName: which way is better, the formula, and of which problem types.

Importing this is cheap; classification.py and regression.py compute them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Direction = Literal["Maximize", "Minimize"]


@dataclass(frozen=True, kw_only=True)
class StandardMetric:
    """One metric; `name` is its StandardMetricName on the wire."""

    name: str
    direction: Direction
    formula: str
    is_weighted: bool = True
    """Whether sample weights count."""


_RECALL, _PRECISION = "TP / (TP + FN)", "TP / (TP + FP), 0 where nothing is predicted positive"
_ALL: tuple[StandardMetric, ...] = (
    StandardMetric(name="Accuracy", direction="Maximize", formula="share of rows whose class is predicted"),
    StandardMetric(
        name="AUC", direction="Maximize", formula="area under the curve of TPR against FPR over all thresholds"
    ),
    StandardMetric(
        name="BalancedAccuracy",
        direction="Maximize",
        formula="mean over the classes of the share of their rows that is predicted",
        is_weighted=False,
    ),
    StandardMetric(name="F1", direction="Maximize", formula="2 TP / (2 TP + FP + FN)"),
    StandardMetric(name="F1macro", direction="Maximize", formula="mean over the classes of each one's F1"),
    StandardMetric(name="LogLoss", direction="Minimize", formula="mean of -ln(probability of the true class)"),
    StandardMetric(name="Precision", direction="Maximize", formula=_PRECISION),
    StandardMetric(name="PrecisionMacro", direction="Maximize", formula=f"mean over the classes of {_PRECISION}"),
    StandardMetric(name="Recall", direction="Maximize", formula=_RECALL),
    StandardMetric(name="RecallMacro", direction="Maximize", formula=f"mean over the classes of {_RECALL}"),
    StandardMetric(name="MAE", direction="Minimize", formula="mean of |actual - predicted|"),
    StandardMetric(name="MSE", direction="Minimize", formula="mean of (actual - predicted)^2"),
    StandardMetric(name="RMSE", direction="Minimize", formula="square root of MSE"),
    StandardMetric(name="R2", direction="Maximize", formula="1 - MSE / variance of the actual values"),
    StandardMetric(
        name="InferenceLatency",
        direction="Minimize",
        formula="median seconds that the loaded model takes for one row by itself",
        is_weighted=False,
    ),
)
STANDARD_METRICS: Mapping[str, StandardMetric] = {one.name: one for one in _ALL}

REPORTED: Mapping[str, tuple[str, ...]] = {
    "BinaryClassification": ("Accuracy", "AUC", "BalancedAccuracy", "F1", "LogLoss", "Precision", "Recall"),
    "MulticlassClassification": (
        "Accuracy",
        "BalancedAccuracy",
        "F1macro",
        "LogLoss",
        "PrecisionMacro",
        "RecallMacro",
    ),
    "Regression": ("MAE", "MSE", "R2", "RMSE"),
}
"""What is measured of a candidate by problem type, beside InferenceLatency."""
OBJECTIVES: Mapping[str, tuple[str, ...]] = {
    "BinaryClassification": ("F1", "Accuracy", "AUC", "BalancedAccuracy", "Precision", "Recall"),
    "MulticlassClassification": ("Accuracy", "BalancedAccuracy", "F1macro", "PrecisionMacro", "RecallMacro"),
    "Regression": ("MSE", "MAE", "R2", "RMSE"),
}
"""What may be the objective of a job by problem type, the default first."""
