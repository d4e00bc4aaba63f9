"""Steps: the training, processing and transform jobs that candidates name as theirs, found by their names.

A row says only which candidate of which job names a step; how the step is, is how its candidate is. Steps of two jobs
may share a name: the earlier job's is the one that is found.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, and_, case, exists, select

from gyropilot.names import folded
from gyropilot.store import candidates, jobs, pages
from gyropilot.store.candidates import CandidateRecord
from gyropilot.store.database import Database
from gyropilot.store.jobs import JobRecord
from gyropilot.store.statuses import Status
from gyropilot.store.tables import candidates as candidates_table
from gyropilot.store.tables import jobs as jobs_table
from gyropilot.store.tables import microseconds
from gyropilot.store.tables import steps as steps_table

StepKind = Literal["training-job", "processing-job", "transform-job"]
"""As it stands in the step's ARN."""


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """A step with the candidate that names it first, and that one's job."""

    name: str
    job: JobRecord
    candidate: CandidateRecord


@dataclass(frozen=True, kw_only=True)
class StepSummary:
    """What a listing shows of a step."""

    name: str
    job_id: str
    status: Status
    failure_reason: str | None
    created_at: datetime
    modified_at: datetime
    ended_at: datetime | None
    job_ended_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class StepQuery:
    """A listing: filters (None filters nothing; times are exclusive bounds), order, and place."""

    account_id: str
    region: str
    kind: StepKind
    created_after: datetime | None = None
    created_before: datetime | None = None
    modified_after: datetime | None = None
    modified_before: datetime | None = None
    name_contains: str | None = None
    """Compared without letter case."""
    name_prefix: str | None = None
    """Compared with letter case."""
    status: Status | None = None
    sort_by: Literal["Name", "CreationTime", "Status"]
    sort_order: pages.SortOrder
    limit: int
    after: pages.Cursor | None = None
    """`next_cursor` of the page before; it belongs to one sort_by."""


_MINE, _CANDIDATES, _JOBS = steps_table.c, candidates_table.c, jobs_table.c
_IS_STOPPING = and_(_CANDIDATES.status == "InProgress", _JOBS.status == "Stopping")
_shown_status: ColumnElement[str] = case((_IS_STOPPING, "Stopping"), else_=_CANDIDATES.status)
_EARLIER = steps_table.alias("earlier")


def find(db: Database, account_id: str, region: str, kind: StepKind, name: str) -> StepRecord | None:
    """Give the step of that name, in whatever letter case."""
    wanted = (
        select(_MINE.name, _MINE.job_id, _MINE.candidate)
        .where(_MINE.account_id == account_id, _MINE.region == region, _MINE.kind == kind)
        .where(_MINE.folded_name == folded(name))
        .order_by(_MINE.noted_at, _MINE.job_id)
        .limit(1)
    )
    with db.read() as connection:
        row = connection.execute(wanted).first()
    if row is None:
        return None
    job, candidate = jobs.get(db, row.job_id), candidates.find(db, row.job_id, row.candidate)
    return None if job is None or candidate is None else StepRecord(name=row.name, job=job, candidate=candidate)


def page(db: Database, query: StepQuery) -> pages.Page[StepSummary]:
    """Give one page of the steps that pass the filters.

    Raises:
        InvalidRequest: the cursor belongs to another order.
    """
    keys = {
        "Name": (_MINE.folded_name, _MINE.job_id),
        "CreationTime": (pages.as_number(_CANDIDATES.created_at), _MINE.folded_name, _MINE.job_id),
        "Status": (_shown_status, _MINE.folded_name, _MINE.job_id),
    }[query.sort_by]
    with db.read() as connection:
        rows, cursor = pages.fetch(connection, _summaries(query), keys, query.sort_order, query.limit, query.after)
    listed = tuple(StepSummary(**{one.name: row._mapping[one.name] for one in fields(StepSummary)}) for row in rows)
    return pages.Page(items=listed, next_cursor=cursor)


def cursor_of(one: StepSummary, sort_by: Literal["Name", "CreationTime", "Status"]) -> pages.Cursor:
    """Give the cursor of the page that begins behind a step."""
    place = (folded(one.name), one.job_id)
    if sort_by == "Name":
        return place
    return (microseconds(one.created_at) if sort_by == "CreationTime" else one.status, *place)


def _summaries(query: StepQuery) -> Select[Any]:
    is_first = ~exists().where(
        _EARLIER.c.account_id == _MINE.account_id,
        _EARLIER.c.region == _MINE.region,
        _EARLIER.c.kind == _MINE.kind,
        _EARLIER.c.folded_name == _MINE.folded_name,
        (_EARLIER.c.noted_at < _MINE.noted_at)
        | ((_EARLIER.c.noted_at == _MINE.noted_at) & (_EARLIER.c.job_id < _MINE.job_id)),
    )
    of_candidate = and_(_CANDIDATES.job_id == _MINE.job_id, _CANDIDATES.name == _MINE.candidate)
    return (
        select(
            _MINE.name,
            _MINE.job_id,
            _shown_status.label("status"),
            _CANDIDATES.failure_reason,
            _CANDIDATES.created_at,
            _CANDIDATES.modified_at,
            _CANDIDATES.ended_at,
            _JOBS.ended_at.label("job_ended_at"),
        )
        .select_from(steps_table.join(candidates_table, of_candidate).join(jobs_table, _JOBS.id == _MINE.job_id))
        .where(is_first, *_filters(query))
    )


def _filters(query: StepQuery) -> list[ColumnElement[bool]]:
    filters = [_MINE.account_id == query.account_id, _MINE.region == query.region, _MINE.kind == query.kind]
    if query.created_after is not None:
        filters.append(_CANDIDATES.created_at > query.created_after)
    if query.created_before is not None:
        filters.append(_CANDIDATES.created_at < query.created_before)
    if query.modified_after is not None:
        filters.append(_CANDIDATES.modified_at > query.modified_after)
    if query.modified_before is not None:
        filters.append(_CANDIDATES.modified_at < query.modified_before)
    if query.name_contains is not None:
        filters.append(_MINE.folded_name.contains(folded(query.name_contains), autoescape=True))
    if query.name_prefix is not None:
        filters.append(_MINE.folded_name.startswith(folded(query.name_prefix), autoescape=True))
    if query.status is not None:
        filters.append(_shown_status == query.status)
    return filters
