"""The rule of CompletionCriteria's times, which problem types share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gyropilot.errors import Fault
from gyropilot.problems.contract import Json

MAX_SECONDS_PER_JOB = 2_592_000


def seconds_faults(where: str, criteria: Mapping[str, Json]) -> Iterator[Fault]:
    """Give the faults of the times in the CompletionCriteria that stand at `where`."""
    for name in ("MaxAutoMLJobRuntimeInSeconds", "MaxRuntimePerTrainingJobInSeconds"):
        if (criteria.get(name) or 0) > MAX_SECONDS_PER_JOB:
            yield Fault(
                where=f"{where}.{name}",
                found=criteria[name],
                problem=f"is more than the {MAX_SECONDS_PER_JOB} seconds (30 days) that a job may take",
                fix="lower it",
            )
