from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter

from gyropilot.problems.contract import Limits, TrainResult
from gyropilot.problems.tabular.columns import Column, Schema
from gyropilot.problems.tabular.hpo import history, search, spaces
from gyropilot.problems.tabular.hpo.pipelines import PIPELINES, pipelines_for
from gyropilot.problems.tabular.hpo.step_names import candidate_name
from mixed_tables import schema_of, spec_of

JOB = "a-job-with-a-name-of-32-letters-"


def open_search(most=20, algorithms=(), **profiled):
    limits = Limits(max_candidates=most, seconds_per_candidate=None, seconds_per_job=None)
    spec = spec_of("BinaryClassification", "AUC", limits=limits, algorithms=algorithms)
    schema = schema_of("BinaryClassification")
    profile = {"job_name": JOB, "schema": schema.to_json(), "objective": "AUC", **profiled}
    return search.open_search(spec, profile)


def ended(proposal, score, **chosen):
    named = {"pipeline": proposal["pipeline"], "algorithm": algorithm_of(proposal), "fold_score": score, **chosen}
    return TrainResult(score=0.5, score_name="AUC", direction="Maximize", metrics=(), containers=(), chosen=named)


def algorithm_of(proposal):
    return next(one.algorithm for one in PIPELINES if one.name == proposal["pipeline"])


def run(searching, score_of=lambda proposal: 0.5):
    proposals = []
    while (proposal := searching.ask()) is not None:
        proposals.append(proposal)
        searching.tell(proposal["name"], ended(proposal, score_of(proposal)))
    return proposals


def test_each_pipeline_is_tried_once_with_defaults_before_any_search():
    proposals = run(open_search())
    assert [(one["pipeline"], one["default"]) for one in proposals[:7]] == [(f"dpp{n}", 0) for n in range(7)]
    assert proposals[0]["history"] == []
    assert len(proposals) == 20


def test_names_are_unique_led_by_the_job_and_the_same_after_a_restart():
    first, second = run(open_search()), open_search()
    names = [one["name"] for one in first]
    assert [second.ask()["name"] for _ in first] == names
    assert len(set(names)) == 20
    for name in [*names, candidate_name(JOB, 750)]:
        assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*", name)
        assert len(name) <= 63
    assert names[0].startswith("a-job-with-a-name-of-32-letters-")


def test_steps_are_those_of_the_service():
    proposal = open_search().ask()
    kinds = [one["kind"] for one in proposal["steps"]]
    names = [one["name"] for one in proposal["steps"]]
    assert kinds == ["ProcessingJob", "TrainingJob", "TransformJob"]
    assert re.fullmatch(r"db-1-[0-9a-f]{18}", names[0])
    assert re.fullmatch(r"a-job-with-dpp0-1-[0-9a-f]{18}", names[1])
    assert re.fullmatch(r"a-job-with-dpp0-rpb-1-[0-9a-f]{18}", names[2])


def test_better_pipelines_get_more_candidates():
    best = {"dpp2": 0.9, "dpp1": 0.8}
    proposals = run(open_search(most=207), lambda proposal: best.get(proposal["pipeline"], 0.5))
    counts = Counter(one["pipeline"] for one in proposals[7:])
    assert 80 <= counts["dpp2"] <= 120
    assert 35 <= counts["dpp1"] <= 70
    assert all(counts[f"dpp{n}"] for n in range(5))


def test_further_defaults_come_before_what_is_searched():
    proposals = run(open_search(most=60, algorithms=("linear-learner",)))
    assert {one["pipeline"] for one in proposals} == {"dpp1", "dpp5"}
    assert [one["default"] for one in proposals[:4]] == [0, 0, 1, None]
    assert len(spaces.defaults_of("linear-learner", schema_of("BinaryClassification"), "AUC")) == 2


def test_failed_candidates_do_not_end_a_search():
    searching = open_search()
    for _ in range(20):
        searching.tell(searching.ask()["name"], None)
    assert searching.ask() is None


def test_proposals_of_750_candidates_stay_small():
    proposals = run(open_search(most=750), lambda proposal: proposal["number"] / 750)
    told = proposals[-1]["history"]
    assert len(told) <= 80
    assert max(score for _, score in told) == 749 / 750
    assert len(json.dumps(proposals[-1])) < 20_000


def test_what_hyperband_holds_others_against_is_told_of_all_candidates():
    searching = open_search(most=200)
    for number in range(1, 201):
        proposal = searching.ask()
        stages = {"candidate": number, "score_at_1": number / 200, "max_depth": 3}
        searching.tell(proposal["name"], ended(proposal, number / 200, **stages))
    told = history.read_history(proposal["history"])
    assert [one.number for one in told] == list(range(1, 200))
    bare = [one.chosen for one in told if "max_depth" not in one.chosen]
    assert len(bare) > 100
    assert all(set(one) == {"candidate", "score_at_1"} for one in bare)


def test_as_many_candidates_train_side_by_side_as_there_are_cores_and_as_memory_holds():
    assert [open_search().at_once(cores) for cores in (0, 1, 16)] == [1, 1, 16]
    assert open_search(most_at_once=None).at_once(16) == 16
    assert [open_search(most_at_once=most).at_once(4) for most in (1, 3, 9)] == [1, 3, 4]


def test_pipelines_that_would_do_the_same_are_tried_once():
    columns = (Column(name="x", kind="numeric"), Column(name="i", kind="categorical", is_ignored=True))
    plain = Schema(features=columns, target="t", weight=None, problem_type="Regression", labels=())
    assert [one.name for one in pipelines_for(plain, ())] == ["dpp0", "dpp1", "dpp2", "dpp5", "dpp6"]
    assert [one.name for one in pipelines_for(plain, ("xgboost",))] == ["dpp0"]


def test_many_classes_are_not_encoded_by_the_target():
    labels = tuple(map(str, range(11)))
    columns = (Column(name="c", kind="categorical"),)
    schema = Schema(features=columns, target="t", weight=None, problem_type="MulticlassClassification", labels=labels)
    assert not [one for one in pipelines_for(schema, ()) if one.categories == "target"]


def test_hundreds_of_categorical_columns_are_not_spread_out_for_trees():
    columns = tuple(Column(name=f"c{n}", kind="categorical") for n in range(300))
    schema = Schema(features=columns, target="t", weight=None, problem_type="Regression", labels=())
    assert [one.name for one in pipelines_for(schema, ("xgboost",))] == ["dpp0", "dpp3"]


def test_a_candidate_stopped_at_an_easy_fold_is_not_taken_for_a_good_one():
    whole = [
        history.tried({"pipeline": "dpp0", "score_at_1": 0.9, "score_at_2": 0.8, "fold_score": 0.8}, 0.5),
        history.tried({"pipeline": "dpp1", "score_at_1": 0.92, "score_at_2": 0.8, "fold_score": 0.8}, 0.5),
    ]
    weak = history.tried({"pipeline": "dpp2", "score_at_1": 0.85, "fold_score": 0.85}, 0.5)
    moved = history.comparable([*whole, weak])
    assert [one.score for one in moved[:2]] == [0.8, 0.8]
    assert abs(moved[2].score - 0.74) < 1e-9


def test_importing_the_search_imports_no_library():
    code = (
        "import sys; import gyropilot.problems.tabular.hpo.search;"
        "print([one for one in ('numpy', 'pandas', 'sklearn', 'optuna', 'torch', 'xgboost') if one in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
