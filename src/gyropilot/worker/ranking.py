"""Chooses the best of a job's candidates."""

from __future__ import annotations

import math
from collections.abc import Iterable

from gyropilot.store.candidates import CandidateRecord


def best_of(records: Iterable[CandidateRecord]) -> CandidateRecord | None:
    """Give the completed candidate with the best score, the earliest of equals; None where none completed."""
    scored = [one for one in records if one.status == "Completed" and one.score is not None]
    scored = [one for one in scored if one.score is not None and math.isfinite(one.score)]
    return min(scored, key=_rank, default=None)


def _rank(record: CandidateRecord) -> tuple[float, object]:
    score = record.score if record.score is not None else math.inf
    return (score if record.direction == "Minimize" else -score, record.created_at)
