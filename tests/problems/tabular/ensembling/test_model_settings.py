from __future__ import annotations

import pytest

from gyropilot.problems.tabular.ensembling import model_settings, plan
from gyropilot.problems.tabular.request import ALGORITHMS

ALL = ALGORITHMS["ENSEMBLING"]


def settings(models, *, allowed=ALL, rows=1000, seconds=None):
    return model_settings.hyperparameters(models, allowed=allowed, rows=rows, seconds_for_a_fit=seconds)


def test_models_are_trained_in_the_order_of_the_trial():
    found = settings(["xgboost", "lightgbm", "lightgbm-extra"])
    priorities = {key: [one["ag_args"]["priority"] for one in entries] for key, entries in found.items()}
    assert priorities["XGB"] > priorities["GBM"]
    assert priorities["GBM"][0] > priorities["GBM"][1]
    assert found["GBM"][1]["extra_trees"]


@pytest.mark.parametrize("trial", plan.TRIALS, ids=lambda one: one.title)
def test_every_trial_has_models_of_known_algorithms_with_names_of_their_own(trial):
    found = settings(trial.models)
    names = [(key, one["ag_args"].get("name_suffix")) for key, entries in found.items() for one in entries]
    assert names
    assert len(set(names)) == len(names)
    assert set(found) <= set(model_settings.KEYS.values())


def test_slices_of_the_portfolio_hold_what_is_allowed_alone():
    assert set(settings(["portfolio-0-20"], allowed=["lightgbm", "catboost"])) == {"GBM", "CAT"}
    assert sum(map(len, settings(["portfolio-0-20"]).values())) == 20


def test_slices_do_not_overlap():
    slices = [settings([name]) for name in ("portfolio-0-20", "portfolio-20-45")]
    first, second = ({one["ag_args"]["name_suffix"] for one in found["GBM"]} for found in slices)
    assert not first & second


def test_one_thread_is_for_a_model_but_not_for_a_forest():
    found = settings(["lightgbm", "randomforest"])
    assert found["GBM"][0]["ag_args_fit"] == {"num_cpus": 1}
    assert "ag_args_fit" not in found["RF"][0]


def test_catboost_learns_faster_where_time_is_short_for_its_rows():
    def rate(**given):
        return settings(["catboost"], **given)["CAT"][0].get("learning_rate")

    assert rate() is None
    assert rate(rows=1000, seconds=30.0) == 0.05
    assert 0.05 < rate(rows=30_000, seconds=30.0) < rate(rows=30_000, seconds=10.0) == 0.15
