"""Hyperband for the candidates of large data: which stages a candidate trains, and after which it is given up.

Optuna's HyperbandPruner on a study that is built again from the history that came with the proposal. What a stage costs
(rows, or models so far; the first stage counts 1) is its resource; a bracket is a way to halve, dealt to each candidate
by its number:

    bracket 0    all stages; after the first a third of the candidates goes on, after the next a third of those...
    bracket 1    begins where bracket 0 first halved three times the cost, so that slow starters are not lost
    the last     trains whole, whatever the others do

A bracket's candidates are held against each other alone, and Optuna's TPE chooses settings by them alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gyropilot.problems.contract import Direction, Json
from gyropilot.problems.tabular.hpo import study
from gyropilot.problems.tabular.hpo.history import STOPPED_EARLY, Tried, stage_key
from gyropilot.problems.tabular.hpo.spaces import Space

if TYPE_CHECKING:
    import optuna
_FACTOR = 3


@dataclass(frozen=True, kw_only=True)
class Hyperband:
    """One candidate's place among those of its job."""

    number: int
    """Of the candidate, from 1."""
    seed: int
    """Of the job."""
    direction: Direction
    costs: Sequence[int]
    """Of each stage, ascending from 1."""
    history: Sequence[Tried]
    """Candidates of all algorithms that ended before this one began."""

    @property
    def bracket(self) -> int:
        """Give the number of its bracket, from 0."""
        made = self._empty_study()
        made.ask().should_prune()  # the library counts its brackets when it is asked first
        (own,) = made.trials
        own.number = self.number - 1
        # It deals them by the trial's number, and says to whom nowhere in public.
        bracket: int = made.pruner._get_bracket_id(made, own)
        return bracket

    @property
    def first_cost(self) -> int:
        """Give the cost of the first stage after which its bracket tells candidates apart, at most that of the last."""
        cost: int = min(_FACTOR**self.bracket, self.costs[-1])
        return cost

    def is_pruned(self, scores: Mapping[int, float]) -> bool:
        """Say whether the candidate should end, by its scores by stage so far."""
        trial, is_pruned = self._study(None).ask(), False
        for stage, score in scores.items():
            trial.report(score, step=self.costs[stage - 1])
            is_pruned = trial.should_prune()
        return is_pruned

    def choose(self, space: Space, algorithm: str, *, seed: int) -> dict[str, Json]:
        """Give the settings that promise most, going by the candidates of the algorithm in the same bracket."""
        made = self._study(algorithm, space)
        made.sampler = study.sampler(seed)
        return dict(made.ask(study.distributions(space)).params)

    def _study(self, algorithm: str | None, space: Space | None = None) -> optuna.Study:
        """Build the study up to this candidate; trials that are no help to choose among `space` count as failed."""
        made, by_number = self._empty_study(), {one.number: one for one in self.history}
        for number in range(1, self.number):
            self._replay(made, by_number.get(number), algorithm, space or {})
        return made

    def _empty_study(self) -> optuna.Study:
        library = study.library()
        made: optuna.Study = library.create_study(
            study_name=f"job of seed {self.seed}",
            direction=self.direction.lower(),
            sampler=library.samplers.RandomSampler(seed=self.seed),
            pruner=library.pruners.HyperbandPruner(
                min_resource=1, max_resource=self.costs[-1], reduction_factor=_FACTOR
            ),
        )
        return made

    def _replay(self, made: optuna.Study, tried: Tried | None, algorithm: str | None, space: Space) -> None:
        """Let the study see a candidate go through its stages, as it did."""
        states = study.library().trial.TrialState
        settings = {} if tried is None else {name: tried.chosen[name] for name in space if name in tried.chosen}
        is_known = tried is not None and tried.algorithm == algorithm and len(settings) == len(space)
        if is_known:
            made.enqueue_trial(settings)
        trial = made.ask(study.distributions(space) if is_known else None)
        if tried is None:
            made.tell(trial, state=states.FAIL)
            return
        for stage, cost in enumerate(self.costs, start=1):
            if stage_key(stage) in tried.chosen:
                trial.report(float(tried.chosen[stage_key(stage)]), step=cost)
                trial.should_prune()
        if not is_known:
            made.tell(trial, state=states.FAIL)
        elif tried.chosen.get(STOPPED_EARLY):
            made.tell(trial, state=states.PRUNED)
        else:
            made.tell(trial, tried.score)
