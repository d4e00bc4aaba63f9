"""Ranks a job's candidates, and chooses the best."""

from __future__ import annotations

import math
from collections.abc import Iterable

from gyropilot.store.candidates import CandidateRecord, latency_of


def ranked(records: Iterable[CandidateRecord]) -> list[CandidateRecord]:
    """Give the completed candidates with a score: the best first, of equals the quickest, then the earliest."""
    scored = [one for one in records if one.status == "Completed" and one.score is not None]
    return sorted((one for one in scored if math.isfinite(one.score or 0.0)), key=_rank)


def best_of(records: Iterable[CandidateRecord]) -> CandidateRecord | None:
    """Give the first of the ranked; None where none completed."""
    return next(iter(ranked(records)), None)


def _rank(record: CandidateRecord) -> tuple[float, float, object]:
    score = record.score if record.score is not None else math.inf
    return (score if record.direction == "Minimize" else -score, latency_of(record), record.created_at)
