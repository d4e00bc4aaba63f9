"""Candidates by rank, as `jobs show` and the end of `jobs watch` print them."""

from datetime import UTC, datetime, timedelta

from gyropilot.cli import leaderboard

START = datetime(2026, 5, 1, tzinfo=UTC)


def candidate(name, value=None, *, direction="Maximize", status="Completed", reason=None):
    told = {"CandidateName": name, "CandidateStatus": status, "CreationTime": START}
    told["EndTime"] = START + timedelta(seconds=75)
    if value is not None:
        told["FinalAutoMLJobObjectiveMetric"] = {"Type": direction, "MetricName": "F1", "Value": value}
    return told | ({"FailureReason": reason} if reason else {})


def printed(capsys, candidates):
    leaderboard.print_candidates(candidates)
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
