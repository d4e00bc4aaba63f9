from __future__ import annotations

import math

import pytest

from gyropilot.problems.tabular.hpo import fit, folds
from gyropilot.problems.tabular.hpo.history import Tried
from gyropilot.problems.tabular.hpo.hyperband import Hyperband
from gyropilot.problems.tabular.hpo.reproducing import Quiet
from gyropilot.problems.tabular.hpo.spaces import Range

SPACE = {"rate": Range(low=1e-4, high=1, is_log=True)}


def band(number, tried=(), costs=(1, 3, 9), seed=42):
    return Hyperband(number=number, seed=seed, direction="Minimize", costs=costs, history=tried)


def numbers_in(bracket, count):
    """The first candidates' numbers of a bracket."""
    return [number for number in range(1, 200) if band(number).bracket == bracket][:count]


def tried(number, scores, **chosen):
    stages = {f"score_at_{stage}": score for stage, score in scores.items()}
    last = list(scores.values())[-1]
    return Tried(chosen={"candidate": number, "algorithm": "xgboost", **stages, **chosen}, score=last)


def test_candidates_are_dealt_to_three_brackets_always_alike_and_most_to_the_one_that_halves_first():
    dealt = [band(number).bracket for number in range(1, 101)]
    counts = [dealt.count(one) for one in (0, 1, 2)]
    assert set(dealt) == {0, 1, 2}
    assert counts[0] == max(counts)
    assert [band(number, [tried(1, {1: 0.5})]).bracket for number in range(2, 101)] == dealt[1:]
    assert [band(number, seed=1).bracket for number in range(1, 101)] != dealt


def test_a_bracket_begins_at_the_stage_after_which_it_halves():
    assert [band(numbers_in(one, 1)[0]).first_cost for one in (0, 1, 2)] == [1, 3, 9]
    assert {band(number, costs=(1,)).bracket for number in range(1, 30)} == {0}


def test_of_a_bracket_a_third_goes_on():
    *before, own = numbers_in(0, 10)
    others = [tried(number, {1: float(place)}) for place, number in enumerate(before)]
    assert [band(own, others).is_pruned({1: score}) for score in (-1.0, 1.5, 2.5, 9.0)] == [False, False, True, True]
    assert band(own, others).is_pruned({1: 1.5}) is band(own, others).is_pruned({1: 1.5})


def test_those_that_went_on_are_halved_again():
    *before, own = numbers_in(0, 10)
    others = [tried(number, {1: float(place), 2: float(place)}) for place, number in enumerate(before)]
    assert band(own, others).is_pruned({1: -1.0, 2: 5.0})
    assert not band(own, others).is_pruned({1: -1.0, 2: -1.0})


def test_a_candidate_is_held_against_its_own_bracket_alone():
    first, second = numbers_in(0, 30), numbers_in(1, 12)
    own = second[-1]
    good = [tried(number, {1: 0.0, 2: 0.0, 3: 0.0}) for number in first if number < own]
    poor = [tried(number, {2: 9.0, 3: 9.0}) for number in second[:-1]]
    assert len(good) > 10
    assert not band(own, [*good, *poor]).is_pruned({2: 5.0})
    best = [tried(number, {2: 1.0, 3: 1.0}) for number in second[:-1]]
    assert band(own, [*good, *best]).is_pruned({2: 5.0})


def test_the_last_bracket_trains_whole():
    own = numbers_in(2, 1)[0]
    others = [tried(number, {1: 0.0, 2: 0.0, 3: 0.0}) for number in range(1, own)]
    assert not band(own, others).is_pruned({1: 99.0, 2: 99.0})


def test_candidates_that_failed_or_are_not_told_of_leave_the_others_their_numbers():
    *before, own = numbers_in(0, 10)
    others = [tried(number, {1: 0.0}) for number in before[3:]]
    assert band(own, others).is_pruned({1: 1.0})
    assert not band(own, others).is_pruned({1: -1.0})


def loss(rate):
    return abs(math.log10(rate) + 2)


def search(count):
    found = []
    for number in range(1, count + 1):
        settings = band(number, found).choose(SPACE, "xgboost", seed=number)
        found.append(tried(number, {3: loss(settings["rate"])}, **settings))
    return found


def test_settings_come_of_what_was_tried_and_are_the_same_each_time():
    found = search(60)
    assert sum(one.score for one in found[-15:]) < 0.6 * sum(one.score for one in found[:15])
    again = [band(61, found).choose(SPACE, "xgboost", seed=61) for _ in range(2)]
    assert again[0] == again[1]
    assert band(61, found).choose(SPACE, "xgboost", seed=62) != again[0]


def test_settings_of_another_algorithm_are_left_aside():
    found = [Tried(chosen={**one.chosen, "algorithm": "mlp"}, score=one.score) for one in search(20)]
    assert band(21, found).choose(SPACE, "xgboost", seed=1) == band(21).choose(SPACE, "xgboost", seed=1)


@pytest.fixture
def large(job, monkeypatch):
    """The job as if its data were large: no folds, and stages."""
    monkeypatch.setattr(folds, "MOST_FOLDED_ROWS", 100)
    monkeypatch.setitem(job.profile, "bytes", 10**9)
    return job


def run(job, count, name):
    searching, told = job.search(), []
    for _ in range(count):
        candidate = {**searching.ask(), "pipeline": "dpp1", "default": None}
        result = fit.fit(job.train_task(candidate, f"{name}-{candidate['number']}"), Quiet())
        searching.tell(candidate["name"], result)
        told.append(result.chosen)
    return told


def stages_of(chosen):
    return [stage for stage in range(1, 6) if f"score_at_{stage}" in chosen]


def test_candidates_of_large_data_train_the_stages_of_their_bracket(large):
    told = run(large, 6, "large")
    assert [one["candidate"] for one in told] == list(range(1, 7))
    number = numbers_in(2, 1)[0]
    candidate = {**large.search().ask(), "number": number, "pipeline": "dpp1", "default": None}
    told.append(fit.fit(large.train_task(candidate, "whole"), Quiet()).chosen)
    whole = {0: [1, 2, 3], 1: [2, 3], 2: [3]}
    for one in told:
        stages = whole[one["bracket"]]
        assert stages_of(one) == (stages[: len(stages_of(one))] if one["stopped_early"] else stages)
        assert not (one["stopped_early"] and one["bracket"] == 2)
        assert one["models"] == 1
    assert any(one["stopped_early"] for one in told)
    assert {0, 1, 2} == {one["bracket"] for one in told}
    assert run(large, 2, "again") == told[:2]


def test_candidates_of_large_data_with_few_rows_are_halved_by_folds(job, monkeypatch):
    monkeypatch.setitem(job.profile, "bytes", folds.STAGED_ABOVE_BYTES + 1)
    told = run(job, 6, "wide")
    assert {one["bracket"] for one in told} == {0, 1}
    for one in told:
        assert len(stages_of(one)) in (({0: (1, 3), 1: (3,)}[one["bracket"]]) if one["stopped_early"] else (4,))
    assert any(one["stopped_early"] for one in told)
