"""Transform jobs as callers list them: those that were created and the steps of candidates, in one order.

The token of a page carries where each of the two goes on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gyropilot import names
from gyropilot.control import named_listings, page_tokens
from gyropilot.control.house import House
from gyropilot.errors import InvalidRequest
from gyropilot.store import steps, transform_jobs
from gyropilot.store.named_rows import NamedQuery
from gyropilot.store.pages import Cursor
from gyropilot.store.principals import Principal
from gyropilot.store.steps import StepQuery, StepSummary
from gyropilot.store.transform_jobs import TransformJobSummary

Json = Any

PER_PAGE = 10


@dataclass(frozen=True, kw_only=True)
class _Listed:
    """An entry of either kind."""

    source: int
    """0: a transform job, 1: a step."""
    cursor: Cursor
    """Its place among its kind; the first value is what both are sorted by."""
    summary: Mapping[str, Json]


def page(house: House, principal: Principal, region: str, request: Mapping[str, Json]) -> dict[str, Json]:
    """Give ListTransformJobsResponse.

    Raises:
        InvalidRequest: the token is none of this listing.
    """
    query = named_listings.query_of(principal, region, request, per_page=PER_PAGE)
    begun = _cursors(query.after)
    jobs, has_more_jobs = _jobs(house, replace(query, after=begun[0]))
    named, has_more_steps = _steps(house, principal, replace(query, after=begun[1]))
    merged = sorted([*jobs, *named], key=lambda one: one.cursor[0], reverse=query.sort_order == "Descending")
    shown = merged[: query.limit]
    listed = {"TransformJobSummaries": [dict(one.summary) for one in shown]}
    if len(shown) == len(merged) and not (has_more_jobs or has_more_steps):
        return listed
    ends = [_end_of(shown, source, begun[source]) for source in (0, 1)]
    return listed | page_tokens.next_token(request, (json.dumps(ends),))


def _end_of(shown: Sequence[_Listed], source: int, begun: Cursor | None) -> Cursor | None:
    """Give where a kind goes on: behind the last one shown of it, or where this page began."""
    return next((one.cursor for one in reversed(shown) if one.source == source), begun)


def _cursors(after: Cursor | None) -> tuple[Cursor | None, Cursor | None]:
    if after is None:
        return None, None
    try:
        of_jobs, of_steps = json.loads(str(after[0]))
        return _cursor(of_jobs), _cursor(of_steps)
    except (ValueError, TypeError, IndexError) as error:
        raise InvalidRequest(
            where="NextToken", problem="is no token of this listing", fix="list from the start"
        ) from error


def _cursor(values: Sequence[Json] | None) -> Cursor | None:
    return None if values is None else tuple(values)


def _jobs(house: House, query: NamedQuery) -> tuple[list[_Listed], bool]:
    found = transform_jobs.page(house.db, query)
    listed = [
        _Listed(source=0, cursor=transform_jobs.cursor_of(one, query.sort_by), summary=job_summary(one))
        for one in found.items
    ]
    return listed, found.next_cursor is not None


def _steps(house: House, principal: Principal, query: NamedQuery) -> tuple[list[_Listed], bool]:
    found = steps.page(house.db, StepQuery(kind="transform-job", **vars(query)))
    listed = [
        _Listed(source=1, cursor=steps.cursor_of(one, query.sort_by), summary=_step_summary(one, principal, query))
        for one in found.items
    ]
    return listed, found.next_cursor is not None


def job_summary(one: TransformJobSummary | transform_jobs.TransformJobRecord) -> dict[str, Json]:
    """Give TransformJobSummary of a transform job that was created."""
    return _known(
        {
            "TransformJobName": one.name,
            "TransformJobArn": one.arn,
            "TransformJobStatus": one.status,
            "CreationTime": one.created_at,
            "TransformEndTime": one.ended_at,
            "LastModifiedTime": one.modified_at,
            "FailureReason": one.failure_reason[:1024] if one.failure_reason else None,
        }
    )


def _step_summary(one: StepSummary, principal: Principal, query: NamedQuery) -> dict[str, Json]:
    arn = names.arn(region=query.region, account_id=principal.account_id, kind="transform-job", name=one.name.lower())
    return _known(
        {
            "TransformJobName": one.name,
            "TransformJobArn": arn,
            "TransformJobStatus": one.status,
            "CreationTime": one.created_at,
            "TransformEndTime": one.ended_at,
            "LastModifiedTime": one.modified_at,
            "FailureReason": one.failure_reason,
        }
    )


def _known(fields: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in fields.items() if value is not None}
