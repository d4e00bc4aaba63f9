"""The search of hyperparameter tuning: which pipeline a candidate takes; its settings are chosen in its own process.

Each pipeline is tried once with its algorithm's defaults, the most promising first. Then the better a pipeline did, the
more candidates it gets: the best one half of them, the next a quarter... Runs in the service, so importing it is cheap.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping

from gyropilot.problems.contract import Json, Search, TrainResult
from gyropilot.problems.tabular import request
from gyropilot.problems.tabular.columns import read_schema
from gyropilot.problems.tabular.hpo import history, spaces, step_names
from gyropilot.problems.tabular.hpo.history import Tried
from gyropilot.problems.tabular.hpo.pipelines import Pipeline, pipelines_for
from gyropilot.problems.tabular.request import TabularSpec


def open_search(spec: TabularSpec, profile: Mapping[str, Json]) -> Search:
    """Open the search over `spec`; `profile` is what data.profile returned."""
    return _Study(spec, profile)


class _Study:
    """Knows what was proposed and how it ended."""

    def __init__(self, spec: TabularSpec, profile: Mapping[str, Json]) -> None:
        self._job_name = str(profile["job_name"])
        self._most_at_once = profile.get("most_at_once")
        self._schema = read_schema(profile["schema"])
        self._objective = str(profile["objective"])
        self._direction = request.direction_of(self._objective)
        self._seed = spec.seed
        self._left = request.max_candidates(spec, "HYPERPARAMETER_TUNING")
        self._pipelines = pipelines_for(self._schema, spec.algorithms)
        self._proposed = 0
        self._later_turns: Counter[str] = Counter()
        self._history: list[Tried] = []

    def at_once(self, cores: int) -> int:
        """Give how many candidates train side by side: each computes on one core, and holds the table in memory."""
        return max(1, cores if self._most_at_once is None else min(cores, int(self._most_at_once)))

    def ask(self) -> Mapping[str, Json] | None:
        """Propose the next candidate, until as many were proposed as the job may have."""
        if not self._left:
            return None
        self._left -= 1
        self._proposed += 1
        number = self._proposed
        pipeline, default = self._next(number)
        return {
            "name": step_names.candidate_name(self._job_name, number),
            "number": number,
            "pipeline": pipeline.name,
            "default": default,
            "history": history.to_json(self._history, self._direction),
            "steps": step_names.steps(self._job_name, pipeline.name, number),
        }

    def tell(self, name: str, result: TrainResult | None) -> None:
        """Hear the ending; of one that failed nothing is learned but that its pipeline has no score."""
        if result is not None:
            self._history.append(history.tried(result.chosen, result.score))

    def _next(self, number: int) -> tuple[Pipeline, int | None]:
        """Give the pipeline, and the number of the default settings to take; None: those that promise most."""
        if number <= len(self._pipelines):
            return self._pipelines[number - 1], 0
        ranked = self._ranked()
        odds = [0.5**place for place in range(len(ranked))]
        # Not of the history alone, so that candidates proposed side by side differ.
        draw = random.Random(f"{self._seed}-{number}")
        pipeline = draw.choices(ranked, odds)[0]
        turn = self._later_turns[pipeline.algorithm] = self._later_turns[pipeline.algorithm] + 1
        count = spaces.default_count(pipeline.algorithm, self._schema, self._objective)
        return pipeline, turn if turn < count else None

    def _ranked(self) -> list[Pipeline]:
        """Give the pipelines by their best score, the best first; those without one last, in their own order."""
        sign = 1 if self._direction == "Maximize" else -1
        best: dict[str, float] = {}
        for tried in history.comparable(self._history):
            score = sign * tried.score
            best[tried.pipeline] = max(score, best.get(tried.pipeline, score))
        return sorted(self._pipelines, key=lambda one: best.get(one.name, float("-inf")), reverse=True)
