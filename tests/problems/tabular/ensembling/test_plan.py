from __future__ import annotations

import dataclasses
import re
import subprocess
import sys

import pytest

import ensembled_tables
from gyropilot.problems.contract import TrainResult
from gyropilot.problems.tabular import search
from gyropilot.problems.tabular.ensembling import plan
from gyropilot.problems.tabular.request import ALGORITHMS


def opened(**wanted):
    table = ensembled_tables.Table("BinaryClassification")
    return search.open_search(ensembled_tables.make_spec(table, **wanted), ensembled_tables.make_profile(table))


def asked(opened_search):
    found = []
    while (one := opened_search.ask()) is not None:
        found.append(one)
    return found


def ended(seconds_left):
    chosen = {plan.SECONDS_LEFT: seconds_left} if seconds_left is not None else {}
    return TrainResult(
        score=0.5, score_name="F1", direction="Maximize", metrics=(), containers=(), artifacts={}, chosen=chosen
    )


def test_ten_trials_begin_with_one_quick_model_and_bear_names_that_models_may_have():
    found = asked(opened())
    assert len(found) == 10
    assert found[0]["models"] == ["lightgbm"]
    assert not found[0]["is_bagged"]
    assert len({one["name"] for one in found}) == 10
    assert all(re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", one["name"]) for one in found)


def test_the_first_trial_is_bounded_though_the_request_sets_no_bound():
    first, *others = asked(opened())
    assert first["most_seconds"] <= 60
    assert {one["most_seconds"] for one in others} == {None}


def test_a_request_bounds_the_trials():
    assert len(asked(opened(most=3))) == 3


def test_the_only_trial_of_a_job_is_the_one_that_is_mostly_the_best():
    (only,) = asked(opened(most=1))
    assert only["is_bagged"]
    assert len(only["models"]) > 5


@pytest.mark.parametrize("algorithm", ALGORITHMS["ENSEMBLING"])
def test_one_algorithm_leaves_trials_of_it_alone_and_none_twice(algorithm):
    found = asked(opened(algorithms=[algorithm]))
    own = {plan.algorithm_of(model) for one in found for model in one["models"]}
    assert own <= {algorithm, None}
    assert found[0]["models"] == [algorithm]
    settings = [(tuple(one["models"]), one["is_bagged"], one["stack_levels"]) for one in found]
    assert len(set(settings)) == len(settings)


def test_boosted_trees_come_first_where_rows_are_many():
    few, many = (plan.trials((), rows=rows)[1].models for rows in (1000, 50_000))
    assert set(few) == set(many)
    assert many[:3] == ("lightgbm", "xgboost", "catboost") != few[:3]


def test_the_same_trials_come_after_a_restart():
    assert asked(opened()) == asked(opened())


def test_no_trial_follows_one_that_left_no_time():
    opened_search = opened()
    first = opened_search.ask()
    opened_search.tell(first["name"], ended(3.0))
    assert opened_search.ask() is None


def test_a_trial_that_used_up_its_own_time_ends_no_search():
    opened_search = opened(own_seconds=40)
    opened_search.tell(opened_search.ask()["name"], ended(3.0))
    assert opened_search.ask() is not None


def test_trials_go_on_after_a_failure_and_where_time_has_no_bound():
    opened_search = opened()
    opened_search.tell(opened_search.ask()["name"], None)
    opened_search.tell(opened_search.ask()["name"], ended(None))
    assert opened_search.ask() is not None


def test_few_cores_are_for_one_trial():
    assert [opened().at_once(cores) for cores in (1, 2, 4, 16)] == [1, 1, 1, 4]


def test_opening_a_search_loads_no_library():
    code = (
        "import sys; from gyropilot.problems.tabular import search, train, artifacts;"
        "print([name for name in ('numpy', 'pandas', 'autogluon', 'optuna', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_trials_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.TRIALS[0].share = 1.0
