"""One AutoGluon fit: from frames to a predictor that predicts alone, and what it predicted of rows it did not see."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from autogluon.common.utils.resource_utils import ResourceManager
from autogluon.tabular import FeatureMetadata, TabularPredictor
from autogluon.tabular.predictor import predictor as predictor_module

from gyropilot.problems.contract import Json, Reporter
from gyropilot.problems.tabular.columns import Schema
from gyropilot.problems.tabular.ensembling import folds, model_settings
from gyropilot.problems.tabular.ensembling.listening import Listener
from gyropilot.problems.tabular.ensembling.model import TARGET, WEIGHT, Predictor, columns_of, probabilities_of, quiet
from gyropilot.problems.tabular.ensembling.model_settings import Hyperparameters
from gyropilot.problems.tabular.tables import Frame

Floats = npt.NDArray[np.float64]

_METRICS: Mapping[str, str] = {
    "AUC": "roc_auc",
    "MAE": "mean_absolute_error",
    "MSE": "root_mean_squared_error",
    "RMSE": "root_mean_squared_error",
    "R2": "root_mean_squared_error",
}
"""What training and ensembling go by, by objective; that of all others is log_loss: it is smooth where they jump, and
the threshold is chosen for the objective afterwards."""
_PROBLEM_TYPES = {
    "BinaryClassification": "binary",
    "MulticlassClassification": "multiclass",
    "Regression": "regression",
}
_HELD_OUT_FRACTION = 0.15
_MOST_HELD_OUT_ROWS = 5000
_MANY_ROWS = 10_000
_SHARE = 0.4
"""Of a fit's time, that one model may hope for."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How one fit goes."""

    models: Sequence[str]
    algorithms: Sequence[str]
    is_bagged: bool
    stack_levels: int
    seconds: float | None
    """For AutoGluon's fit; None: no bound."""
    cores: int
    memory_bytes: int
    objective: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What came out."""

    predictor: Predictor
    """AutoGluon's TabularPredictor, of the models that its best one needs alone."""
    unseen: npt.NDArray[np.int64]
    """Places of the training rows that were predicted by models which did not see them."""
    predicted: Floats
    """[unseen], or [unseen, class]: those predictions."""
    failures: Mapping[str, str]
    """Reason by model."""
    leaderboard: list[dict[str, Json]]
    weights: Mapping[str, float]
    """Of the models in the ensemble that answers."""
    folds: int


def train(folder: Path, rows: Frame, schema: Schema, plan: Plan, reporter: Reporter) -> Trained:
    """Fit the models of a plan and the ensemble of them, into `folder`."""
    table = _table(rows)
    fold_count = _fold_count(len(table)) if plan.is_bagged else 0
    settings = model_settings.hyperparameters(
        plan.models,
        allowed=plan.algorithms,
        rows=len(table),
        seconds_for_a_fit=None if plan.seconds is None else plan.seconds * _SHARE * plan.cores / max(1, fold_count),
    )
    listener = Listener(reporter, _count(settings) * (1 + plan.stack_levels), plan.seconds)
    predictor = _predictor(folder, rows, schema, plan)
    held_out = None if plan.is_bagged else _held_out(rows, schema, plan.seed)
    with quiet(), _without_accelerator(), folds.side_by_side(plan.cores, listener.is_over, plan.seconds):
        predictor.fit(
            table if held_out is None else table.drop(index=held_out),
            tuning_data=None if held_out is None else table.loc[held_out],
            hyperparameters=settings,
            feature_metadata=_metadata(schema),
            num_bag_folds=fold_count,
            callbacks=[listener],
            **_arguments(plan),
        )
        failures = _failures(predictor)
        if not predictor.model_names():
            return _nothing(failures)
        leaderboard, weights = _leaderboard(predictor), _weights(predictor)
        unseen, predicted = _unseen_predictions(predictor, table, schema, held_out)
        if held_out is not None:
            predictor.refit_full(model="best", set_best_to_refit_full=True, num_cpus=plan.cores, num_gpus=0)
        predictor.delete_models(models_to_keep="best", dry_run=False)
        predictor.save_space()
    return Trained(
        predictor=predictor,
        unseen=unseen,
        predicted=predicted,
        failures=failures,
        leaderboard=leaderboard,
        weights=weights,
        folds=fold_count,
    )


def _predictor(folder: Path, rows: Frame, schema: Schema, plan: Plan) -> Predictor:
    return TabularPredictor(
        label=TARGET,
        problem_type=_PROBLEM_TYPES[schema.problem_type],
        eval_metric=_METRICS.get(plan.objective, "log_loss"),
        path=str(folder),
        sample_weight=WEIGHT if rows.weights is not None else None,
        weight_evaluation=rows.weights is not None,
        verbosity=0,
        log_to_file=False,
    )


def _arguments(plan: Plan) -> dict[str, Json]:
    """Give what a fit is told that does not depend on the rows."""
    return {
        "time_limit": plan.seconds,
        "num_bag_sets": 1,
        "num_stack_levels": plan.stack_levels,
        "dynamic_stacking": False,
        # temperature scaling moves no answer, and loading what it computes with takes seconds
        "calibrate": False,
        "calibrate_decision_threshold": False,
        "num_cpus": plan.cores,
        "num_gpus": 0,
        "memory_limit": max(0.5, plan.memory_bytes / 2**30) if plan.memory_bytes > 0 else "auto",
        "ag_args_ensemble": {"fold_fitting_strategy": "sequential_local"},
        "raise_on_no_models_fitted": False,
    }


def _nothing(failures: Mapping[str, str]) -> Trained:
    return Trained(
        predictor=None,
        unseen=np.empty(0, np.int64),
        predicted=np.empty(0),
        failures=failures,
        leaderboard=[],
        weights={},
        folds=0,
    )


@contextmanager
def _without_accelerator() -> Iterator[None]:
    """Spare the library the look for accelerators and what it would log of them: both load torch, for seconds."""
    count, told = ResourceManager.get_gpu_count_torch, predictor_module.get_ag_system_info
    ResourceManager.get_gpu_count_torch = staticmethod(lambda *_, **__: 0)
    predictor_module.get_ag_system_info = lambda *_, **__: ""
    try:
        yield
    finally:
        ResourceManager.get_gpu_count_torch, predictor_module.get_ag_system_info = count, told


def _table(rows: Frame) -> pd.DataFrame:
    table = columns_of(rows.features)
    table[TARGET] = rows.target
    if rows.weights is not None:
        table[WEIGHT] = rows.weights
    return table.reset_index(drop=True)


def _metadata(schema: Schema) -> Json:
    """Tell the library what each column is: it would guess, and by other rules."""
    raw = {"numeric": "float", "datetime": "datetime"}
    kinds = {f"feature_{number}": one.kind for number, one in enumerate(schema.features)}
    texts = [name for name, kind in kinds.items() if kind == "text"]
    return FeatureMetadata(
        type_map_raw={name: raw.get(kind, "object") for name, kind in kinds.items()},
        type_group_map_special={"text": texts} if texts else None,
    )


def _held_out(rows: Frame, schema: Schema, seed: int) -> npt.NDArray[np.int64]:
    """Choose the rows that tell a model without folds when to stop; of classes their share, at least one row each."""
    count = min(_MOST_HELD_OUT_ROWS, max(1, round(_HELD_OUT_FRACTION * len(rows.target))))
    drawn = np.random.default_rng(seed).permutation(len(rows.target))
    if schema.is_regression:
        return np.sort(drawn[:count])
    chosen: list[npt.NDArray[np.int64]] = []
    for label in range(len(schema.labels)):
        of_class = drawn[rows.target[drawn] == label]
        share = round(count * len(of_class) / len(drawn))
        chosen.append(of_class[: min(max(1, share), max(0, len(of_class) - 1))])
    return np.sort(np.concatenate(chosen))


def _fold_count(rows: int) -> int:
    return 8 if rows <= _MANY_ROWS else 5


def _count(settings: Hyperparameters) -> int:
    return sum(map(len, settings.values())) + 1


def _unseen_predictions(
    predictor: Predictor,
    table: pd.DataFrame,
    schema: Schema,
    held_out: npt.NDArray[np.int64] | None,
) -> tuple[npt.NDArray[np.int64], Floats]:
    if held_out is not None:
        features = table.loc[held_out].drop(columns=[TARGET])
        return held_out, _values(predictor, features, schema)
    if schema.is_regression:
        numbers = predictor.predict_oof()
        return numbers.index.to_numpy(np.int64), numbers.to_numpy(np.float64)
    found = predictor.predict_proba_oof(as_multiclass=True)
    # rows of rare classes that the library repeated bear numbers after those of the table
    found = found[found.index < len(table)]
    return found.index.to_numpy(np.int64), probabilities_of(found, len(schema.labels))


def _values(predictor: Predictor, features: pd.DataFrame, schema: Schema) -> Floats:
    if schema.is_regression:
        return np.asarray(predictor.predict(features, as_pandas=False), dtype=np.float64)
    return probabilities_of(predictor.predict_proba(features, as_multiclass=True), len(schema.labels))


def _failures(predictor: Predictor) -> dict[str, str]:
    found = predictor.model_failures()
    if not len(found):
        return {}
    return {str(row["model"]): f"{row['exc_type']}: {row['exc_str']}".strip(": ") for _, row in found.iterrows()}


def _leaderboard(predictor: Predictor) -> list[dict[str, Json]]:
    board = predictor.leaderboard(display=False)
    return [
        {
            "model": str(row["model"]),
            "score": _finite(row["score_val"]),
            "metric": str(row["eval_metric"]),
            "fit_seconds": _finite(row["fit_time_marginal"]),
            "stack_level": int(row["stack_level"]),
        }
        for _, row in board.iterrows()
    ]


def _weights(predictor: Predictor) -> dict[str, float]:
    """Give the weights of the best model's parts; one model by itself has none."""
    info = predictor.model_info(predictor.model_best)
    children = info.get("children_info") or {}
    found: dict[str, float] = next((one["model_weights"] for one in children.values() if "model_weights" in one), {})
    return {str(name): round(float(weight), 4) for name, weight in found.items()}


def _finite(value: Json) -> float | None:
    number = float(value)
    return round(number, 6) if math.isfinite(number) else None
