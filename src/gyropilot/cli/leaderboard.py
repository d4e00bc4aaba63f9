"""The candidates of a job as the terminal ranks them: the best first, then those without a score."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from gyropilot import clock
from gyropilot.cli import texts

Json = Any

_SHOWN = 10
_LEAST_COLUMNS = 40
_OBJECTIVE = "FinalAutoMLJobObjectiveMetric"


def print_candidates(candidates: Sequence[Mapping[str, Json]]) -> None:
    """Print the best of several candidates; of a single one the job's own page tells all."""
    if len(candidates) < 2:
        return
    ranked = ranking(candidates)
    metric = next((one[_OBJECTIVE]["MetricName"] for one in ranked if _OBJECTIVE in one), "SCORE")
    rows = [_row(place, one) for place, one in enumerate(ranked[:_SHOWN], start=1)]
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    table = texts.fitted_columns(
        rows,
        headings=("RANK", "CANDIDATE", metric, "STATUS", "TOOK", "REASON"),
        spare=("REASON", "TOOK"),
        width=max(width, _LEAST_COLUMNS),
    )
    click.echo(f"\n{table}")
    if len(ranked) > _SHOWN:
        click.echo(f"and {len(ranked) - _SHOWN} more: {_counted(ranked[_SHOWN:])}")


def ranking(candidates: Sequence[Mapping[str, Json]]) -> list[Mapping[str, Json]]:
    """Give candidates from best to worst by their objective; those without one last, as they came."""
    scored = [one for one in candidates if _OBJECTIVE in one]
    is_maximized = any(one[_OBJECTIVE].get("Type") == "Maximize" for one in scored)
    scored.sort(key=lambda one: float(one[_OBJECTIVE]["Value"]), reverse=is_maximized)
    return [*scored, *(one for one in candidates if _OBJECTIVE not in one)]


def _row(place: int, candidate: Mapping[str, Json]) -> tuple[str, ...]:
    objective = candidate.get(_OBJECTIVE)
    took = (candidate.get("EndTime") or clock.now()) - candidate["CreationTime"]
    return (
        str(place) if objective else "",
        str(candidate["CandidateName"]),
        texts.number(objective["Value"]) if objective else "",
        str(candidate["CandidateStatus"]),
        texts.duration(took.total_seconds()),
        str(candidate.get("FailureReason", "")),
    )


def _counted(candidates: Sequence[Mapping[str, Json]]) -> str:
    statuses = [str(one["CandidateStatus"]) for one in candidates]
    return ", ".join(f"{statuses.count(status)} {status}" for status in sorted(set(statuses)))
