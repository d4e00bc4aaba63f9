"""Candidates: the models a job has tried, each as the API will show it, with columns to filter and sort by."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Row, func, insert, select, update

from gyropilot.names import folded
from gyropilot.store import leases, pages
from gyropilot.store.database import Database
from gyropilot.store.statuses import Status
from gyropilot.store.tables import candidates as candidates_table
from gyropilot.store.tables import jobs as jobs_table
from gyropilot.store.tables import steps as steps_table

Json = Any
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
    beyond = _BEYOND if query.sort_order == "Ascending" else -_BEYOND
    keys = {
        "CreationTime": (pages.as_number(column.created_at), column.name),
        "Status": (column.status, column.name),
        "FinalObjectiveMetricValue": (func.coalesce(column.score, beyond), column.name),
    }[query.sort_by]
    wanted = select(candidates_table).where(column.job_id == query.job_id)
    if query.status is not None:
        wanted = wanted.where(column.status == query.status)
    if query.name is not None:
        wanted = wanted.where(column.name == query.name)
    with db.read() as connection:
        rows, cursor = pages.fetch(connection, wanted, keys, query.sort_order, query.limit, query.after)
    return pages.Page(items=tuple(_record(row) for row in rows), next_cursor=cursor)


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
