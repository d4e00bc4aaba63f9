"""Chooses a candidate's settings by those of the candidates before it, and tells the weak ones; runs in its child.

The history travels with the proposal, so nothing is kept here: the same history, seed and number give the same choice.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gyropilot.problems.contract import Direction, Json
from gyropilot.problems.tabular.hpo.history import Tried, stage_key
from gyropilot.problems.tabular.hpo.spaces import Choice, Range, Space

if TYPE_CHECKING:
    import optuna

_RANDOM_FIRST = 4
"""With fewer candidates of the algorithm than this, settings are drawn at random."""
_LEAST_TO_COMPARE = 4


def choose(space: Space, history: Sequence[Tried], *, direction: Direction, seed: int) -> dict[str, Json]:
    """Give the settings that promise most, by a tree-structured Parzen estimator.

    Args:
        space: of the algorithm.
        history: candidates of the same algorithm.
        direction: in which scores are better.
        seed: of this candidate.
    """
    optuna = library()
    study, known = optuna.create_study(sampler=sampler(seed), direction=direction.lower()), distributions(space)
    for tried in history:
        settings = {name: tried.chosen[name] for name in space if name in tried.chosen}
        if len(settings) == len(space):
            study.add_trial(optuna.trial.create_trial(params=settings, distributions=known, value=tried.score))
    return dict(study.ask(known).params)


def library() -> Any:  # noqa: ANN401 - a module
    """Give Optuna, which takes a second to import, and keeps quiet from then on."""
    with warnings.catch_warnings():
        # In a notebook tqdm, which Optuna loads, misses a progress bar that nothing here shows.
        warnings.filterwarnings("ignore", message="IProgress not found")
        import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def sampler(seed: int) -> optuna.samplers.BaseSampler:
    """Give the tree-structured Parzen estimator that chooses settings."""
    made: optuna.samplers.BaseSampler = library().samplers.TPESampler(
        seed=seed, multivariate=True, n_startup_trials=_RANDOM_FIRST
    )
    return made


def distributions(space: Space) -> dict[str, optuna.distributions.BaseDistribution]:
    """Give a space in the library's terms."""
    return {name: _distribution(one) for name, one in space.items()}


def is_weak(history: Sequence[Tried], stage: int, score: float, *, direction: Direction, kept: float) -> bool:
    """Say whether a candidate should end after this stage, since too many were better there.

    Args:
        history: candidates of all algorithms.
        stage: number of the stage, from 1.
        score: its mean up to that stage.
        direction: in which scores are better.
        kept: share of the candidates that go on.
    """
    key, sign = stage_key(stage), 1 if direction == "Maximize" else -1
    others = [sign * float(tried.chosen[key]) for tried in history if key in tried.chosen]
    better = sum(one > sign * score for one in others)
    return len(others) >= _LEAST_TO_COMPARE and better >= max(1.0, kept * len(others))


def _distribution(one: Range | Choice) -> optuna.distributions.BaseDistribution:
    from optuna import distributions

    if isinstance(one, Choice):
        return distributions.CategoricalDistribution(one.values)
    if one.is_whole:
        return distributions.IntDistribution(int(one.low), int(one.high), log=one.is_log)
    return distributions.FloatDistribution(one.low, one.high, log=one.is_log)
