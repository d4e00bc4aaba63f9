"""Candidates: the models a job has tried, each as the API will show it, with columns to filter and sort by."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Row, Select, insert, select, update

from gyropilot.names import folded
from gyropilot.store import leases, pages
from gyropilot.store.database import Database
from gyropilot.store.statuses import Status
from gyropilot.store.tables import candidates as candidates_table
from gyropilot.store.tables import jobs as jobs_table
from gyropilot.store.tables import steps as steps_table

Json = Any
_ScoreKey = tuple[float, float, float, str]
_BEYOND = 1.7e308
"""Stands for a missing score when sorting: whichever the order, those without come last."""


@dataclass(frozen=True, kw_only=True)
class CandidateRecord:
    """One candidate of a job."""

    job_id: str
    name: str
    status: Status
    objective_status: Literal["Succeeded", "Pending", "Failed"]
    score: float | None
    """Value of the objective metric; finite."""
    direction: Literal["Maximize", "Minimize"]
    body: dict[str, Json]
    """The AutoMLCandidate of the API as JSON values; its times are the columns beside it."""
    created_at: datetime
    modified_at: datetime
    ended_at: datetime | None = None
    failure_reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class CandidateQuery:
    """A listing: filters (None filters nothing), order, and place."""

    job_id: str
    status: Status | None = None
    name: str | None = None
    sort_by: Literal["CreationTime", "Status", "FinalObjectiveMetricValue"]
    sort_order: pages.SortOrder
    limit: int
    after: pages.Cursor | None = None
    """`next_cursor` of the page before; it belongs to one sort_by and sort_order."""


def put(db: Database, lease: leases.Lease, record: CandidateRecord) -> None:
    """Store a candidate of the job that `lease` owns, or replace the one of that name.

    Raises:
        LeaseLost: the lease does not hold; nothing was written.
        ValueError: the candidate is of another job, or its score is not finite.
    """
    if record.job_id != lease.job_id:
        raise ValueError("the candidate belongs to another job than the lease")
    if record.score is not None and not math.isfinite(record.score):
        raise ValueError(f"a score must be finite, not {record.score}")
    values = {one.name: getattr(record, one.name) for one in fields(record)}
    with db.write() as connection:
        leases.check(connection, lease)
        there = update(candidates_table).where(_is(record.job_id, record.name)).values(values)
        if connection.execute(there).rowcount == 0:
            connection.execute(insert(candidates_table).values(values))
        _note_steps(connection, record)


def find(db: Database, job_id: str, name: str) -> CandidateRecord | None:
    """Give the candidate of that name."""
    with db.read() as connection:
        row = connection.execute(select(candidates_table).where(_is(job_id, name))).first()
    return None if row is None else _record(row)


def page(db: Database, query: CandidateQuery) -> pages.Page[CandidateRecord]:
    """Give one page of the candidates that pass the filters.

    Raises:
        InvalidRequest: the cursor belongs to another order.
    """
    column = candidates_table.c
    keys = {
        "CreationTime": (pages.as_number(column.created_at), column.name),
        "Status": (column.status, column.name),
    }
    wanted = select(candidates_table).where(column.job_id == query.job_id)
    if query.status is not None:
        wanted = wanted.where(column.status == query.status)
    if query.name is not None:
        wanted = wanted.where(column.name == query.name)
    if query.sort_by == "FinalObjectiveMetricValue":
        return _page_by_score(db, wanted, query)
    order = keys[query.sort_by]
    with db.read() as connection:
        rows, cursor = pages.fetch(connection, wanted, order, query.sort_order, query.limit, query.after)
    return pages.Page(items=tuple(_record(row) for row in rows), next_cursor=cursor)


def latency_of(record: CandidateRecord) -> float:
    """Give the seconds of an answer to one row, as far as they were measured; infinite where they were not."""
    metrics = record.body.get("CandidateProperties", {}).get("CandidateMetrics", ())
    return min((one["Value"] for one in metrics if one["StandardMetricName"] == "InferenceLatency"), default=math.inf)


def _page_by_score(db: Database, wanted: Select[Any], query: CandidateQuery) -> pages.Page[CandidateRecord]:
    """Give a page in the order of `worker/ranking.py`, or its reverse; latency, which parts equals, is in the body."""
    with db.read() as connection:
        records = [_record(row) for row in connection.execute(wanted)]
    is_rising = query.sort_order == "Ascending"
    beyond = _BEYOND if is_rising else -_BEYOND
    by_key = {_score_key(one, beyond): one for one in records}
    keys = sorted(by_key, reverse=not is_rising)
    if query.after is not None:
        here = _score_cursor(query.after)
        keys = [key for key in keys if (key > here if is_rising else key < here)]
    shown = keys[: query.limit]
    cursor = shown[-1] if len(keys) > query.limit else None
    return pages.Page(items=tuple(by_key[key] for key in shown), next_cursor=cursor)


def _score_key(record: CandidateRecord, beyond: float) -> _ScoreKey:
    """Give by what a candidate stands among others; `beyond` stands for a missing score."""
    if record.score is None:
        return beyond, 0.0, 0.0, record.name
    sign = 1.0 if record.direction == "Minimize" else -1.0
    seconds = min(latency_of(record), _BEYOND)
    return record.score, sign * seconds, sign * record.created_at.timestamp(), record.name


def _score_cursor(after: pages.Cursor) -> _ScoreKey:
    match list(after):
        case [int() | float() as score, int() | float() as seconds, int() | float() as moment, str() as name]:
            return score, seconds, moment, name
    raise pages.other_order()


def _note_steps(connection: Connection, record: CandidateRecord) -> None:
    """Let what the candidate names as its steps be found; a step that several candidates name belongs to the first."""
    of_job = select(jobs_table.c.account_id, jobs_table.c.region).where(jobs_table.c.id == record.job_id)
    place = connection.execute(of_job).one()
    named = {_step_key(one): one["CandidateStepName"] for one in record.body.get("CandidateSteps", ())}
    known = select(steps_table.c.kind, steps_table.c.folded_name).where(
        steps_table.c.account_id == place.account_id,
        steps_table.c.region == place.region,
        steps_table.c.folded_name.in_({folded_name for _, folded_name in named}),
        steps_table.c.job_id == record.job_id,
    )
    for kind, folded_name in named.keys() - {tuple(row) for row in connection.execute(known)}:
        values = {"account_id": place.account_id, "region": place.region, "job_id": record.job_id, "kind": kind}
        values |= {"folded_name": folded_name, "name": named[kind, folded_name], "candidate": record.name}
        connection.execute(insert(steps_table).values(**values, noted_at=record.created_at))


def _step_key(step: dict[str, Json]) -> tuple[str, str]:
    kind = step["CandidateStepArn"].rpartition(":")[2].partition("/")[0]
    return kind, folded(step["CandidateStepName"])


def _is(job_id: str, name: str) -> ColumnElement[bool]:
    return (candidates_table.c.job_id == job_id) & (candidates_table.c.name == name)


def _record(row: Row[Any]) -> CandidateRecord:
    return CandidateRecord(**{one.name: row._mapping[one.name] for one in fields(CandidateRecord)})
