"""What a search knows of the candidates that ended: their settings and scores; it travels with each proposal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gyropilot.problems.contract import Direction, Json

FOLD_SCORE = "fold_score"
"""Under which name a candidate's settings hold its mean score on rows that its models did not learn from."""
NUMBER, STOPPED_EARLY = "candidate", "stopped_early"
"""Under which names they hold the candidate's number, where Hyperband is to know it, and whether it was given up."""
_STAGE = "score_at_"
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
    def number(self) -> int:
        """Give its number from 1; 0: it is not known."""
        return int(self.chosen.get(NUMBER, 0))

    @property
    def pipeline(self) -> str:
        """Give the name of its pipeline."""
        return str(self.chosen.get("pipeline", ""))


def stage_key(stage: int) -> str:
    """Give under which name a candidate's settings hold its mean score up to a stage, counted from 1."""
    return f"{_STAGE}{stage}"


def tried(chosen: Mapping[str, Json], score: float) -> Tried:
    """Give the record of a candidate; its score on folds, where there is one, is less prone to luck than `score`."""
    return Tried(chosen=chosen, score=float(chosen.get(FOLD_SCORE, score)))


def comparable(history: Sequence[Tried]) -> list[Tried]:
    """Give the same candidates with scores as if all had gone through every stage.

    One that was stopped early has the score of its stages alone, which may be the easy ones: it is moved by as much as
    the scores of the others moved from there to the last stage.
    """
    counts = [_last_stage(one) for one in history]
    last = max(counts, default=0)
    whole = [one for one, count in zip(history, counts, strict=True) if count == last]
    shifts = {stage: _shift(whole, stage) for stage in set(counts) if 0 < stage < last}
    return [
        Tried(chosen=one.chosen, score=one.score + shifts.get(count, 0.0))
        for one, count in zip(history, counts, strict=True)
    ]


def to_json(history: Sequence[Tried], direction: Direction) -> list[Json]:
    """Give the best and the latest candidates as JSON values, in the order in which they ended.

    Of the others no settings are told, and of those that have a number what Hyperband holds others against.
    """
    sign = -1 if direction == "Maximize" else 1
    by_score = sorted(range(len(history)), key=lambda place: sign * history[place].score)
    whole = {*by_score[:_MOST_BEST], *range(max(0, len(history) - _MOST_LATEST), len(history))}
    return [
        [dict(one.chosen) if place in whole else _bare(one), one.score]
        for place, one in enumerate(history)
        if place in whole or one.number
    ]


def read_history(values: Iterable[Json]) -> list[Tried]:
    """Read back what `to_json` gave."""
    return [Tried(chosen=chosen, score=float(score)) for chosen, score in values]


def _shift(whole: Sequence[Tried], stage: int) -> float:
    """Give by how much the scores of candidates move from a stage to the last, on average."""
    moves = [one.score - float(one.chosen[stage_key(stage)]) for one in whole if stage_key(stage) in one.chosen]
    return sum(moves) / len(moves) if moves else 0.0


def _last_stage(one: Tried) -> int:
    return max((int(name.removeprefix(_STAGE)) for name in one.chosen if name.startswith(_STAGE)), default=0)


def _bare(one: Tried) -> dict[str, Json]:
    return {name: value for name, value in one.chosen.items() if name == NUMBER or name.startswith(_STAGE)}
