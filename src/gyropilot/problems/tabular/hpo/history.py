"""What a search knows of the candidates that ended: their settings and scores; it travels with each proposal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gyropilot.problems.contract import Direction, Json

FOLD_SCORE = "fold_score"
"""Under which name a candidate's settings hold its mean score on rows that its models did not learn from."""
_MOST_BEST, _MOST_LATEST = 40, 40
"""How many candidates are told of: with all of them, proposals would grow with the square of their number."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One candidate that ended well."""

    chosen: Mapping[str, Json]
    """Its TrainResult.chosen."""
    score: float

    @property
    def algorithm(self) -> str:
        """Give its algorithm."""
        return str(self.chosen.get("algorithm", ""))

    @property
    def pipeline(self) -> str:
        """Give the name of its pipeline."""
        return str(self.chosen.get("pipeline", ""))


def stage_key(stage: int) -> str:
    """Give under which name a candidate's settings hold its mean score up to a stage, counted from 1."""
    return f"score_at_{stage}"


def tried(chosen: Mapping[str, Json], score: float) -> Tried:
    """Give the record of a candidate; its score on folds, where there is one, is less prone to luck than `score`."""
    return Tried(chosen=chosen, score=float(chosen.get(FOLD_SCORE, score)))


def comparable(history: Sequence[Tried]) -> list[Tried]:
    """Give the same candidates with scores as if all had gone through every stage.

    One that was stopped early has the score of its stages alone, which may be the easy ones: it is moved by as much as
    the scores of the others moved from there to the last stage.
    """
    counts = [_stage_count(one) for one in history]
    last = max(counts, default=0)
    whole = [one for one, count in zip(history, counts, strict=True) if count == last]
    shifts = {stage: _shift(whole, stage) for stage in set(counts) if 0 < stage < last}
    return [
        Tried(chosen=one.chosen, score=one.score + shifts.get(count, 0.0))
        for one, count in zip(history, counts, strict=True)
    ]


def to_json(history: Sequence[Tried], direction: Direction) -> list[Json]:
    """Give the best and the latest candidates as JSON values, in the order in which they ended."""
    sign = -1 if direction == "Maximize" else 1
    by_score = sorted(range(len(history)), key=lambda place: sign * history[place].score)
    latest = range(max(0, len(history) - _MOST_LATEST), len(history))
    return [[dict(history[place].chosen), history[place].score] for place in sorted({*by_score[:_MOST_BEST], *latest})]


def read_history(values: Iterable[Json]) -> list[Tried]:
    """Read back what `to_json` gave."""
    return [Tried(chosen=chosen, score=float(score)) for chosen, score in values]


def _shift(whole: Sequence[Tried], stage: int) -> float:
    """Give by how much the scores of candidates move from a stage to the last, on average."""
    return sum(one.score - float(one.chosen[stage_key(stage)]) for one in whole) / len(whole)


def _stage_count(one: Tried) -> int:
    count = 0
    while stage_key(count + 1) in one.chosen:
        count += 1
    return count
