from __future__ import annotations

import threading
from collections import Counter
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from autogluon.core.models.ensemble import bagged_ensemble_model
from autogluon.core.models.ensemble.bagged_ensemble_model import BaggedEnsembleModel
from autogluon.core.utils.exceptions import TimeLimitExceeded
from autogluon.tabular.models import LGBModel

from gyropilot.problems.tabular.ensembling import folds
from gyropilot.problems.tabular.ensembling.model import quiet


class Watched(LGBModel):
    """LightGBM that says in which threads it was trained."""

    threads: ClassVar = Counter()

    def _fit(self, **given):
        self.threads[threading.current_thread().name] += 1
        return super()._fit(**given)


Watched.__name__ = "LGBModel"


def bag(folder, cores, *, is_over=lambda: False, seconds=None):
    draw = np.random.default_rng(0)
    features = pd.DataFrame({"x": draw.normal(size=120), "z": draw.normal(size=120)})
    target = features["x"] + 0.1 * features["z"]
    model = BaggedEnsembleModel(
        Watched(path=str(folder), name="L", problem_type="regression", hyperparameters={"ag.num_cpus": 1}),
        path=str(folder),
        hyperparameters={"fold_fitting_strategy": "sequential_local"},
    )
    with quiet(), folds.side_by_side(cores, is_over, seconds):
        model.fit(X=features, y=target, k_fold=4, n_repeats=1, time_limit=seconds, num_cpus=2, num_gpus=0)
    return model


def test_folds_side_by_side_are_those_in_sequence(tmp_path):
    one, two = bag(tmp_path / "one", 1), bag(tmp_path / "two", 2)
    assert one.n_children == two.n_children == 4
    np.testing.assert_array_equal(one.predict_proba_oof(), two.predict_proba_oof())


def test_two_cores_are_two_threads(tmp_path):
    Watched.threads.clear()
    bag(tmp_path, 2, seconds=60.0)
    assert sum(Watched.threads.values()) == 4
    assert len(Watched.threads) == 2


def test_no_fold_begins_once_training_is_to_end(tmp_path):
    Watched.threads.clear()
    with pytest.raises(TimeLimitExceeded):
        bag(tmp_path, 2, is_over=lambda: True)
    assert not Watched.threads


def test_the_library_is_left_as_it_was(tmp_path):
    before = bagged_ensemble_model.SequentialLocalFoldFittingStrategy
    bag(tmp_path, 2)
    assert bagged_ensemble_model.SequentialLocalFoldFittingStrategy is before
