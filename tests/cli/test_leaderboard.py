"""Candidates by rank, as `jobs show` and the end of `jobs watch` print them."""

from datetime import UTC, datetime, timedelta

from gyropilot.cli import leaderboard
from gyropilot.sdk.values import Event

START = datetime(2026, 5, 1, tzinfo=UTC)


def candidate(name, value=None, *, direction="Maximize", status="Completed", reason=None):
    told = {"CandidateName": name, "CandidateStatus": status, "CreationTime": START}
    told["EndTime"] = START + timedelta(seconds=75)
    if value is not None:
        told["FinalAutoMLJobObjectiveMetric"] = {"Type": direction, "MetricName": "F1", "Value": value}
    return told | ({"FailureReason": reason} if reason else {})


def printed(capsys, candidates, events=()):
    leaderboard.print_candidates(candidates, events)
    return capsys.readouterr().out


def test_the_best_comes_first_whichever_way_is_better(capsys):
    given = [candidate("a", 0.5), candidate("b", 0.75), candidate("c", status="Failed", reason="no memory")]
    assert printed(capsys, given).splitlines()[1:] == [
        "RANK  CANDIDATE  F1    STATUS     TOOK        REASON",
        "1     b          0.75  Completed  1 min 15 s",
        "2     a          0.5   Completed  1 min 15 s",
        "      c                Failed     1 min 15 s  no memory",
    ]
    ranked = leaderboard.ranking([candidate(name, value, direction="Minimize") for name, value in (("a", 2), ("b", 1))])
    assert [one["CandidateName"] for one in ranked] == ["b", "a"]


def test_of_many_the_first_ten_are_shown_and_the_rest_counted(capsys):
    given = [candidate(f"c{number}", number / 1000) for number in range(750)]
    given[0] = candidate("c0", status="Stopped", reason="its time was up")
    lines = printed(capsys, given).splitlines()
    assert lines[2].split()[:3] == ["1", "c749", "0.749"]
    assert lines[-1] == "and 740 more: 739 Completed, 1 Stopped"


def test_a_single_candidate_is_not_ranked(capsys):
    assert printed(capsys, [candidate("a", 0.5)]) == ""


def test_of_equals_the_soonest_to_answer_comes_first_as_in_the_choice_of_the_best():
    given = [candidate("plain", 1.0), candidate("slow", 1.0), candidate("quick", 1.0), candidate("worse", 0.5)]
    for one, seconds in ((given[1], 0.2), (given[2], 0.1)):
        measured = {"StandardMetricName": "InferenceLatency", "Set": "Validation", "Value": seconds}
        one["CandidateProperties"] = {"CandidateMetrics": [measured]}
    assert [one["CandidateName"] for one in leaderboard.ranking(given)] == ["quick", "slow", "plain", "worse"]


def test_a_candidate_whose_time_was_up_says_so(capsys):
    detail = {"candidate": "b", "limit": "MaxRuntimePerTrainingJobInSeconds"}
    event = Event(sequence=1, at=START, kind="cut_off", message="its time was up", detail=detail)
    lines = printed(capsys, [candidate("a", 0.5), candidate("b", 0.25)], [event]).splitlines()
    assert lines[-1].endswith("its time was up (MaxRuntimePerTrainingJobInSeconds)")
    assert lines[-2].rstrip().endswith("1 min 15 s")
