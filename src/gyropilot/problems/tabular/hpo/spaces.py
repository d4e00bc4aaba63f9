"""The settings of each algorithm: what values they may take, and those known to be good, which are tried first.

Importing this is cheap. Ranges and defaults are ours; the service publishes none for these algorithms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gyropilot.problems.contract import Json
from gyropilot.problems.tabular.columns import Schema


@dataclass(frozen=True, kw_only=True)
class Range:
    """Numbers from `low` to `high`, both among them."""

    low: float
    high: float
    is_log: bool = False
    """Whether each power of ten is as likely as another."""
    is_whole: bool = False


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of several values."""

    values: tuple[str | int, ...]


Space = Mapping[str, Range | Choice]
Settings = Mapping[str, Json]

_XGBOOST: Space = {
    "max_depth": Range(low=2, high=11, is_whole=True),
    "learning_rate": Range(low=0.02, high=0.3, is_log=True),
    "min_child_weight": Range(low=0.3, high=50, is_log=True),
    "subsample": Range(low=0.5, high=1),
    "colsample_bytree": Range(low=0.3, high=1),
    "lambda": Range(low=0.01, high=50, is_log=True),
    "alpha": Range(low=1e-4, high=5, is_log=True),
    "gamma": Range(low=1e-5, high=1, is_log=True),
}
_LINEAR: Space = {"penalty": Range(low=1e-7, high=1, is_log=True)}
_MLP: Space = {
    "layers": Range(low=1, high=4, is_whole=True),
    "width": Range(low=32, high=384, is_log=True, is_whole=True),
    "dropout": Range(low=0, high=0.5),
    "learning_rate": Range(low=3e-4, high=1e-2, is_log=True),
    "weight_decay": Range(low=1e-6, high=0.3, is_log=True),
    "batch_size": Choice(values=(64, 128, 256, 512)),
}
_SPACES: Mapping[str, Space] = {"xgboost": _XGBOOST, "linear-learner": _LINEAR, "mlp": _MLP}

_TREES = {"subsample": 0.85, "lambda": 1.0, "alpha": 1e-3, "gamma": 1e-4}
_NETWORK = {"weight_decay": 0.01, "batch_size": 128}
_DEFAULTS: Mapping[str, tuple[Settings, ...]] = {
    "xgboost": (
        {**_TREES, "max_depth": 6, "learning_rate": 0.08, "min_child_weight": 2, "colsample_bytree": 0.7},
        {**_TREES, "max_depth": 4, "learning_rate": 0.05, "min_child_weight": 1, "colsample_bytree": 0.5},
        {**_TREES, "max_depth": 8, "learning_rate": 0.04, "min_child_weight": 5, "colsample_bytree": 0.6},
    ),
    "linear-learner": ({"penalty": 1e-3}, {"penalty": 1e-5}),
    "mlp": (
        {**_NETWORK, "layers": 2, "width": 128, "dropout": 0.1, "learning_rate": 0.002},
        {**_NETWORK, "layers": 3, "width": 256, "dropout": 0.3, "learning_rate": 0.001},
    ),
}
_WEIGHTED_OBJECTIVES = ("BalancedAccuracy", "F1macro", "RecallMacro", "Recall")
"""Those for which a rare class counts as much as a common one."""
_LARGE_SPREAD = Choice(values=("plain", "log"))


def space_of(algorithm: str, schema: Schema, objective: str) -> Space:
    """Give the settings that an algorithm has on such a table, by name."""
    return {**_SPACES[algorithm], **_by_target(schema, objective)}


def defaults_of(algorithm: str, schema: Schema, objective: str) -> list[Settings]:
    """Give the settings to try first, in order; each has every name of `space_of`."""
    first = {name: choice.values[0] for name, choice in _by_target(schema, objective).items()}
    plain: list[Settings] = [{**one, **first} for one in _DEFAULTS[algorithm]]
    others = {name: choice.values[1] for name, choice in _by_target(schema, objective).items()}
    return [plain[0], {**plain[0], **others}, *plain[1:]] if others else plain


def default_count(algorithm: str, schema: Schema, objective: str) -> int:
    """Give how many settings there are to try first."""
    return len(defaults_of(algorithm, schema, objective))


def read_setting(one: Range | Choice, text: str) -> int | float | str:
    """Read a setting that was written as text.

    Raises:
        ValueError: it is none that it may be.
    """
    if isinstance(one, Range):
        return int(text) if one.is_whole else float(text)
    by_text: dict[str, int | str] = {str(value): value for value in one.values}
    if text not in by_text:
        raise ValueError(f"{text!r} is none of {', '.join(by_text)}")
    return by_text[text]


def _by_target(schema: Schema, objective: str) -> dict[str, Choice]:
    if schema.is_regression:
        return {"target_scale": _LARGE_SPREAD}
    if objective in _WEIGHTED_OBJECTIVES:
        # Where two classes' threshold is calibrated, weights would do the same again.
        is_calibrated = len(schema.labels) == 2 and objective == "BalancedAccuracy"
        return {} if is_calibrated else {"class_weight": Choice(values=("balanced", "none"))}
    return {}
