from datetime import UTC, datetime

import pytest

from gyropilot.store.candidates import CandidateRecord
from gyropilot.worker import ranking


def record(name, score, *, direction="Maximize", latency=None, second=0, status="Completed"):
    measured = {"StandardMetricName": "InferenceLatency", "Set": "Validation", "Value": latency}
    at = datetime(2026, 1, 1, second=second, tzinfo=UTC)
    return CandidateRecord(
        job_id="job",
        name=name,
        status=status,
        objective_status="Succeeded",
        score=score,
        direction=direction,
        body={"CandidateProperties": {"CandidateMetrics": [measured] if latency is not None else []}},
        created_at=at,
        modified_at=at,
        ended_at=at,
        failure_reason=None,
    )


@pytest.mark.parametrize(("direction", "order"), [("Maximize", "cba"), ("Minimize", "abc")])
def test_the_best_score_comes_first(direction, order):
    records = [record(name, score, direction=direction) for name, score in (("b", 2.0), ("a", 1.0), ("c", 3.0))]
    assert [one.name for one in ranking.ranked(records)] == list(order)
    assert ranking.best_of(records).name == order[0]


def test_of_equal_scores_the_quickest_to_answer_comes_first_then_the_earliest():
    records = [
        record("late", 1.0, second=2),
        record("early", 1.0, second=1),
        record("slow", 1.0, latency=0.2, second=1),
        record("quick", 1.0, latency=0.1, second=3),
    ]
    assert [one.name for one in ranking.ranked(records)] == ["quick", "slow", "early", "late"]


def test_what_has_no_score_is_not_ranked():
    records = [record("failed", None, status="Failed"), record("lost", float("nan")), record("one", 0.5)]
    assert [one.name for one in ranking.ranked(records)] == ["one"]
    assert ranking.best_of(records[:2]) is None
