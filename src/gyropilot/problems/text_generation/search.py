"""The search of a text-generation job: one candidate, with the hyperparameters of the spec."""

from __future__ import annotations

from collections.abc import Mapping

from gyropilot.problems.contract import Json, Search, Spec, TrainResult


def open_search(spec: Spec, profile: Mapping[str, Json]) -> Search:
    """Open the search over `spec`; `profile` is what data.profile returned, the job's name among it."""
    return _SingleCandidate(name=candidate_name(str(profile["job_name"])), hyperparameters=spec.to_json())


def candidate_name(job_name: str) -> str:
    """Give the candidate's name: unique as the job's is, and a legal ModelName (at most 63 of letters, digits, -)."""
    return f"{job_name[:51]}-candidate-1"


class _SingleCandidate:
    """Asks one candidate once; asking again after a restart of the worker gives the same one."""

    def __init__(self, *, name: str, hyperparameters: Mapping[str, Json]) -> None:
        names = ("epochs", "batch_size", "learning_rate", "warmup_steps", "seed")
        known = {key: hyperparameters[key] for key in names if hyperparameters[key] is not None}
        self._candidate: dict[str, Json] | None = {"name": name, **known}

    def at_once(self, cores: int) -> int:
        """Give 1: training takes all cores."""
        return 1

    def ask(self) -> Mapping[str, Json] | None:
        candidate, self._candidate = self._candidate, None
        return candidate

    def tell(self, name: str, result: TrainResult | None) -> None:
        """Hear the ending; there is nothing to learn for a next one."""
