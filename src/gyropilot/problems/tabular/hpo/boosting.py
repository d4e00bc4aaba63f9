"""xgboost: boosted trees; rounds are added until the fold's check rows stop gaining, or to a number that is given."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from gyropilot.problems.contract import Json
from gyropilot.problems.tabular.hpo.fold_models import Course, Floats, Learning, Matrix, Rows, row_weights
from gyropilot.problems.tabular.hpo.target_scales import TargetScale, scale_of

_BOOSTER, _NOTE = "booster.ubj", "fold.json"
_MOST_ROUNDS = 3000
_PATIENCE_ROUNDS = 40
_OWN = ("max_depth", "learning_rate", "min_child_weight", "subsample", "colsample_bytree", "lambda", "alpha", "gamma")


class BoostedTrees:
    """A booster, its rounds cut to the best."""

    def __init__(self, booster: xgboost.Booster, classes: int, scale: TargetScale | None) -> None:
        self._booster = booster
        self._classes = classes
        self._scale = scale

    @property
    def course(self) -> Course:
        """Give the number of rounds."""
        return Course(steps=self._booster.num_boosted_rounds())

    def predict(self, matrix: Matrix) -> Floats:
        """Give estimates or probabilities; see FoldModel."""
        raw = np.asarray(self._booster.inplace_predict(matrix), dtype=np.float64)
        if self._scale is not None:
            return self._scale.restored(raw)
        if self._classes == 2:
            return np.stack([1 - raw, raw], axis=1)
        return np.asarray(raw / raw.sum(axis=1, keepdims=True), dtype=np.float64)

    def save(self, folder: Path) -> None:
        """Write booster and scale."""
        self._booster.save_model(folder / _BOOSTER)
        note = {"classes": self._classes, "scale": None if self._scale is None else self._scale.to_json()}
        (folder / _NOTE).write_text(json.dumps(note), encoding="utf-8")


def learn(train: Rows, until: Rows | Course, settings: Mapping[str, Json], learning: Learning) -> BoostedTrees:
    """Train a booster; see fold_models.learn."""
    scale = (
        None if learning.classes else scale_of(train.target.astype(np.float64), settings.get("target_scale", "plain"))
    )
    length: dict[str, Any] = {"num_boost_round": _MOST_ROUNDS, "callbacks": [_until(learning)]}
    if isinstance(until, Course):
        length["num_boost_round"] = until.steps
    else:
        length["evals"] = [(_rows(until, scale, settings, learning), "check")]
        length["callbacks"].insert(0, xgboost.callback.EarlyStopping(rounds=_PATIENCE_ROUNDS, save_best=True))
    booster = xgboost.train(
        _parameters(settings, learning), _rows(train, scale, settings, learning), verbose_eval=False, **length
    )
    return BoostedTrees(booster, learning.classes, scale)


def load(folder: Path) -> BoostedTrees:
    """Read what `save` wrote."""
    note = json.loads((folder / _NOTE).read_text(encoding="utf-8"))
    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(folder / _BOOSTER)
    scale = None if note["scale"] is None else TargetScale(**note["scale"])
    return BoostedTrees(booster, note["classes"], scale)


def _rows(rows: Rows, scale: TargetScale | None, settings: Mapping[str, Json], learning: Learning) -> xgboost.DMatrix:
    label = rows.target if scale is None else scale.scaled(rows.target.astype(np.float64))
    weights = row_weights(rows.target, learning.classes, settings.get("class_weight"))
    return xgboost.DMatrix(rows.matrix, label=label, weight=weights, nthread=learning.threads)


def _parameters(settings: Mapping[str, Json], learning: Learning) -> dict[str, Any]:
    own = {name: settings[name] for name in _OWN if name in settings}
    common = {"tree_method": "hist", "max_bin": 256, "nthread": learning.threads, "seed": learning.seed, "verbosity": 0}
    return {**common, **_loss(learning), **own}


def _loss(learning: Learning) -> dict[str, Any]:
    if learning.classes > 2:
        return {"objective": "multi:softprob", "num_class": learning.classes, "eval_metric": "mlogloss"}
    if learning.classes == 2:
        return {"objective": "binary:logistic", "eval_metric": "auc" if learning.objective == "AUC" else "logloss"}
    if learning.objective == "MAE":
        return {"objective": "reg:absoluteerror", "eval_metric": "mae"}
    return {"objective": "reg:squarederror", "eval_metric": "rmse"}


def _until(learning: Learning) -> xgboost.callback.TrainingCallback:
    class Until(xgboost.callback.TrainingCallback):  # type: ignore[misc]
        def after_iteration(self, model: object, epoch: int, evals_log: object) -> bool:
            return learning.is_over()

    return Until()
