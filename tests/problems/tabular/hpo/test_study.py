from __future__ import annotations

import math

from gyropilot.problems.tabular.hpo import spaces, study
from gyropilot.problems.tabular.hpo.history import Tried
from gyropilot.problems.tabular.hpo.spaces import Choice, Range
from mixed_tables import schema_of

SPACE = {
    "rate": Range(low=1e-4, high=1, is_log=True),
    "depth": Range(low=1, high=12, is_whole=True),
    "kind": Choice(values=("plain", "log")),
}


def loss(settings):
    far = abs(math.log10(settings["rate"]) + 2) + abs(settings["depth"] - 9) / 4
    return far + (settings["kind"] == "plain")


def search(count, seed):
    history = []
    for number in range(count):
        settings = study.choose(SPACE, history, direction="Minimize", seed=seed + number)
        history.append(Tried(chosen=settings, score=loss(settings)))
    return history


def test_later_candidates_are_better_than_those_at_random():
    history = search(40, seed=1)
    first, last = history[:10], history[-10:]
    assert sum(one.score for one in last) < 0.5 * sum(one.score for one in first)
    assert min(one.score for one in history) < 0.35


def test_the_same_history_and_seed_give_the_same_settings():
    history = search(8, seed=3)
    again = [study.choose(SPACE, history, direction="Minimize", seed=5) for _ in range(2)]
    assert again[0] == again[1]
    assert again[0] != study.choose(SPACE, history, direction="Minimize", seed=6)


def test_settings_are_within_their_space():
    for number in range(20):
        settings = study.choose(SPACE, [], direction="Maximize", seed=number)
        assert 1e-4 <= settings["rate"] <= 1
        assert settings["depth"] in range(1, 13)
        assert settings["kind"] in ("plain", "log")


def test_what_other_settings_were_tried_is_left_aside():
    foreign = Tried(chosen={"rate": 0.1}, score=1.0)
    assert study.choose(SPACE, [foreign], direction="Minimize", seed=1) == study.choose(
        SPACE, [], direction="Minimize", seed=1
    )


def test_every_default_lies_in_its_space_and_names_every_setting():
    for problem_type, objectives in {
        "BinaryClassification": ("F1", "BalancedAccuracy", "Recall"),
        "MulticlassClassification": ("Accuracy", "F1macro"),
        "Regression": ("MSE",),
    }.items():
        for objective in objectives:
            for algorithm in ("xgboost", "linear-learner", "mlp"):
                schema = schema_of(problem_type)
                space = spaces.space_of(algorithm, schema, objective)
                defaults = spaces.defaults_of(algorithm, schema, objective)
                assert len(defaults) == spaces.default_count(algorithm, schema, objective)
                for settings in defaults:
                    assert set(settings) == set(space)
                    for name, one in space.items():
                        assert spaces.read_setting(one, str(settings[name])) == settings[name]
                        if isinstance(one, Range):
                            assert one.low <= settings[name] <= one.high


def tried(*scores):
    return [Tried(chosen={"score_at_1": score}, score=score) for score in scores]


def test_a_candidate_behind_half_of_the_others_is_weak():
    others = tried(1.0, 2.0, 3.0, 4.0)
    assert study.is_weak(others, 1, 2.5, direction="Minimize", kept=0.5)
    assert not study.is_weak(others, 1, 1.5, direction="Minimize", kept=0.5)
    assert study.is_weak(others, 1, 2.5, direction="Maximize", kept=0.5)
    assert not study.is_weak(others, 1, 3.5, direction="Maximize", kept=0.5)
    assert not study.is_weak(others, 2, 9.0, direction="Minimize", kept=0.5)


def test_no_candidate_is_weak_beside_few_others():
    assert not study.is_weak(tried(1.0, 1.0, 1.0), 1, 9.0, direction="Minimize", kept=0.5)
