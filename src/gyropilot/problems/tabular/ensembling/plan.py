"""The trials of an ensembling job, in the order of what they cost: each is one AutoGluon fit in a child of its own.

A single quick model comes first, so that every job has a usable one within seconds; then the ensemble that is mostly
the best, with nearly all the time there is; then others that it might not be, as long as the clock allows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gyropilot.problems.contract import Json, Search, TrainResult
from gyropilot.problems.tabular import request
from gyropilot.problems.tabular.request import ALGORITHMS, TabularSpec

LEAST_SECONDS = 8.0
"""With less than this left no further trial is begun: starting the libraries alone takes half of it."""
SECONDS_LEFT = "seconds_left"
"""What a trial tells in `chosen` of the time that was left when it ended."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One AutoGluon fit."""

    title: str
    models: tuple[str, ...]
    """Names of model settings, in the order of their training: an algorithm, or an algorithm, a hyphen and a variant;
    portfolio-<from>-<to> are those of the 2023 zero-shot portfolio, by their place in it."""
    is_bagged: bool
    """Whether each model is trained on folds, of which the ensemble is made; else once, on all training rows."""
    stack_levels: int
    share: float
    """Of the time that is left when it begins, in (0, 1]."""
    most_seconds: float | None = None
    """That its fit may take however much time there is; None: no bound of its own."""


_BOOSTED = ("lightgbm", "catboost", "xgboost")
_ALL = (
    *("lightgbm", "linear-learner", "lightgbm-extra", "xgboost", "extra-trees", "randomforest"),
    *("catboost", "xgboost-slow", "catboost-shallow", "lightgbm-large", "fastai", "nn-torch"),
)
"""Cheapest first; those that are dear for what they add after them."""
_OF_MANY_ROWS = (
    *("lightgbm", "xgboost", "catboost", "lightgbm-extra", "lightgbm-large", "xgboost-slow"),
    *("extra-trees", "randomforest", "linear-learner", "catboost-shallow", "fastai", "nn-torch"),
)
"""The same in the order of what they are worth where all are dear: boosted trees gain most by more rows."""
_MANY_ROWS = 15_000
TRIALS: tuple[Trial, ...] = (
    Trial(title="one quick model", models=("lightgbm",), is_bagged=False, stack_levels=0, share=0.4, most_seconds=60.0),
    Trial(title="every algorithm, bagged", models=_ALL, is_bagged=True, stack_levels=0, share=1.0),
    Trial(title="every algorithm, stacked", models=_ALL, is_bagged=True, stack_levels=1, share=0.6),
    Trial(title="portfolio 1", models=("portfolio-0-20",), is_bagged=True, stack_levels=0, share=0.6),
    Trial(title="boosted trees, stacked", models=_BOOSTED, is_bagged=True, stack_levels=1, share=0.6),
    Trial(title="portfolio 2", models=("portfolio-20-45",), is_bagged=True, stack_levels=0, share=0.6),
    Trial(title="every algorithm, once", models=_ALL, is_bagged=False, stack_levels=0, share=0.6),
    Trial(title="portfolio 3", models=("portfolio-45-75",), is_bagged=True, stack_levels=0, share=0.6),
    Trial(title="portfolio 4", models=("portfolio-75-110",), is_bagged=True, stack_levels=0, share=0.6),
    Trial(title="portfolio, stacked", models=("portfolio-0-30",), is_bagged=True, stack_levels=1, share=1.0),
)


def open_search(spec: TabularSpec, profile: Mapping[str, Json]) -> Search:
    """Open the search of an ensembling job."""
    most = request.max_candidates(spec, "ENSEMBLING")
    planned = trials(spec.algorithms, rows=int(profile["rows"]["training"]))
    chosen = planned[1:2] or planned if most == 1 else planned[:most]
    return _Trials(str(profile["job_name"]), chosen, own_limit=spec.limits.seconds_per_candidate)


def trials(algorithms: tuple[str, ...], *, rows: int) -> list[Trial]:
    """Give the trials with only these algorithms in them, in order; none: all algorithms. `rows` are for training."""
    allowed = set(algorithms) or set(ALGORITHMS["ENSEMBLING"])
    planned: dict[tuple[Json, ...], Trial] = {}
    first = "lightgbm" if "lightgbm" in allowed else next(one for one in _ALL if one in allowed)
    for trial in TRIALS:
        models = trial.models if trial is not TRIALS[0] else (first,)
        if models is _ALL and rows > _MANY_ROWS:
            models = _OF_MANY_ROWS
        left = tuple(one for one in models if algorithm_of(one) is None or algorithm_of(one) in allowed)
        if left:
            key = (frozenset(left), trial.is_bagged, trial.stack_levels)
            settled = Trial(
                title=trial.title,
                models=left,
                is_bagged=trial.is_bagged,
                stack_levels=trial.stack_levels,
                share=trial.share,
                most_seconds=trial.most_seconds,
            )
            planned.setdefault(key, settled)
    return list(planned.values())


def algorithm_of(model: str) -> str | None:
    """Give the algorithm of a model's settings; None: a slice of a portfolio, which holds several."""
    known = [one for one in ALGORITHMS["ENSEMBLING"] if model == one or model.startswith(f"{one}-")]
    return known[0] if known else None


class _Trials:
    """Proposes the trials in order until the time is over."""

    def __init__(self, job_name: str, planned: list[Trial], *, own_limit: int | None) -> None:
        """Take what is planned, and how long a trial may take by itself: then its time says nothing of the job's."""
        self._job_name, self._left = job_name, list(enumerate(planned, start=1))
        self._has_own_limit = own_limit is not None
        self._has_time = True

    def at_once(self, cores: int) -> int:
        """Give how many may train side by side: a trial trains folds side by side itself, on up to 4 cores."""
        return max(1, cores // 4)

    def ask(self) -> Mapping[str, Json] | None:
        """Give the next trial."""
        if not self._left or not self._has_time:
            return None
        number, trial = self._left.pop(0)
        return {
            "name": f"{self._job_name[:51]}-trial-t1-{number}",
            "number": number,
            "title": trial.title,
            "models": list(trial.models),
            "is_bagged": trial.is_bagged,
            "stack_levels": trial.stack_levels,
            "share": trial.share,
            "most_seconds": trial.most_seconds,
        }

    def tell(self, name: str, result: TrainResult | None) -> None:
        """Hear the ending; a trial that ended with no time left is the last one."""
        left = None if result is None else result.chosen.get(SECONDS_LEFT)
        if not self._has_own_limit and left is not None and float(left) < LEAST_SECONDS:
            self._has_time = False
