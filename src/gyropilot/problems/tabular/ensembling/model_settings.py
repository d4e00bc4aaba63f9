"""What the names of models in a trial stand for: AutoGluon's keys and hyperparameters; read in the training child."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gyropilot.problems.tabular.ensembling.plan import algorithm_of

Hyperparameters = dict[str, list[dict[str, Any]]]

KEYS: Mapping[str, str] = {
    "catboost": "CAT",
    "extra-trees": "XT",
    "fastai": "FASTAI",
    "lightgbm": "GBM",
    "linear-learner": "LR",
    "nn-torch": "NN_TORCH",
    "randomforest": "RF",
    "xgboost": "XGB",
}
"""AutoGluon's key of each algorithm."""

_VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "lightgbm-extra": {"extra_trees": True},
    "lightgbm-large": {"learning_rate": 0.03, "num_leaves": 128, "feature_fraction": 0.9, "min_data_in_leaf": 3},
    "catboost-shallow": {"depth": 4, "l2_leaf_reg": 5.0, "learning_rate": 0.06},
    "xgboost-slow": {"learning_rate": 0.03, "max_depth": 5, "colsample_bytree": 0.7, "subsample": 0.8},
}
"""Settings beside AutoGluon's defaults, by the name in a trial; chosen to err unlike the defaults."""

_CATBOOST_SECONDS_A_ROW = 0.002
"""Of one core, to train CatBoost at its usual rate until it stops by itself; measured on some ten columns."""
_MOST_RATE = 0.15
_MANY_CORES = {"RF", "XT"}
"""Models whose trees grow in threads without waiting for each other; all others get one thread each."""


def hyperparameters(
    models: Sequence[str], *, allowed: Iterable[str], rows: int, seconds_for_a_fit: float | None
) -> Hyperparameters:
    """Give what AutoGluon's fit takes as hyperparameters.

    Args:
        models: names in a trial, in the order of training.
        allowed: algorithms; slices of a portfolio hold only theirs.
        rows: of the table.
        seconds_for_a_fit: of one core, that one model may take on one fold where all get alike; None: no bound.
    """
    keys = {KEYS[name] for name in allowed}
    entries = [entry for name in models for entry in _entries(name, keys)]
    chosen: Hyperparameters = {}
    for place, (key, name, values) in enumerate(entries):
        arguments = {"priority": 1000 - place, **({"name_suffix": name} if name else {})}
        settled = {**values, "ag_args": arguments}
        if key == "CAT" and seconds_for_a_fit is not None:
            settled["learning_rate"] = _rate(float(values.get("learning_rate", 0.05)), rows, seconds_for_a_fit)
        if key not in _MANY_CORES:
            settled["ag_args_fit"] = {"num_cpus": 1}
        chosen.setdefault(key, []).append(settled)
    return chosen


def _rate(usual: float, rows: int, seconds: float) -> float:
    """Give CatBoost's learning rate: larger where the usual one would be cut off far from its best by the clock."""
    needed = _CATBOOST_SECONDS_A_ROW * rows
    return round(min(max(usual, _MOST_RATE), usual * max(1.0, needed / max(seconds, 0.1))), 4)


def _entries(name: str, keys: set[str]) -> list[tuple[str, str, dict[str, Any]]]:
    """Give AutoGluon's key, the suffix of the model's name and its values, for every model that a name stands for."""
    algorithm = algorithm_of(name)
    if algorithm is None:
        _, first, end = name.split("-")
        return [one for one in _portfolio() if one[0] in keys][int(first) : int(end)]
    variant = name.removeprefix(algorithm).lstrip("-")
    return [(KEYS[algorithm], f"_{variant}" if variant else "", dict(_VARIANTS.get(name, {})))]


def _portfolio() -> list[tuple[str, str, dict[str, Any]]]:
    """Give the learned entries of the 2023 zero-shot portfolio, best first; its defaults are left out."""
    from autogluon.tabular.configs.hyperparameter_configs import get_hyperparameter_config

    found = []
    for key, entries in get_hyperparameter_config("zeroshot").items():
        for entry in entries if isinstance(entries, list) else [entries]:
            values = copy.deepcopy(entry)
            arguments = values.pop("ag_args", {})
            if "priority" in arguments and key in KEYS.values():
                found.append((-int(arguments["priority"]), key, str(arguments["name_suffix"]), values))
    return [(key, suffix, values) for _, key, suffix, values in sorted(found, key=lambda one: one[:3])]
