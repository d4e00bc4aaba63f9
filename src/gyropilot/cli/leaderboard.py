"""The candidates of a job as the terminal ranks them: the best first, then those without a score."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from gyropilot import clock
from gyropilot.cli import texts
from gyropilot.sdk.values import Event

Json = Any

_SHOWN = 10
_LEAST_COLUMNS = 40
_OBJECTIVE = "FinalAutoMLJobObjectiveMetric"


def print_candidates(candidates: Sequence[Mapping[str, Json]], events: Sequence[Event]) -> None:
    """Print the best of several candidates; of a single one the job's own page tells all.

    Args:
        candidates: as ListCandidatesForAutoMLJob has them.
        events: of the job, which tell whose time was up.
    """
    if len(candidates) < 2:
        return
    ranked = ranking(candidates)
    metric = next((one[_OBJECTIVE]["MetricName"] for one in ranked if _OBJECTIVE in one), "SCORE")
    cut_off = {
        one.detail.get("candidate"): f"its time was up ({one.detail.get('limit')})"
        for one in events
        if one.kind == "cut_off"
    }
    rows = [_row(place, one, cut_off) for place, one in enumerate(ranked[:_SHOWN], start=1)]
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
    """Give candidates from best to worst by their objective; those without one last, as they came.

    Of equals the one that answers soonest comes first, then the earliest: so the service chooses BestCandidate.
    """
    scored = [one for one in candidates if _OBJECTIVE in one]
    sign = -1.0 if any(one[_OBJECTIVE].get("Type") == "Maximize" for one in scored) else 1.0
    scored.sort(key=lambda one: (sign * float(one[_OBJECTIVE]["Value"]), _latency(one), one["CreationTime"]))
    return [*scored, *(one for one in candidates if _OBJECTIVE not in one)]


def _row(place: int, candidate: Mapping[str, Json], cut_off: Mapping[Json, str]) -> tuple[str, ...]:
    objective = candidate.get(_OBJECTIVE)
    took = (candidate.get("EndTime") or clock.now()) - candidate["CreationTime"]
    return (
        str(place) if objective else "",
        str(candidate["CandidateName"]),
        texts.number(objective["Value"]) if objective else "",
        str(candidate["CandidateStatus"]),
        texts.duration(took.total_seconds()),
        str(candidate.get("FailureReason") or cut_off.get(candidate["CandidateName"], "")),
    )


def _latency(candidate: Mapping[str, Json]) -> float:
    metrics = candidate.get("CandidateProperties", {}).get("CandidateMetrics", ())
    return min((one["Value"] for one in metrics if one["StandardMetricName"] == "InferenceLatency"), default=math.inf)


def _counted(candidates: Sequence[Mapping[str, Json]]) -> str:
    statuses = [str(one["CandidateStatus"]) for one in candidates]
    return ", ".join(f"{statuses.count(status)} {status}" for status in sorted(set(statuses)))
