"""Jobs: created by a request, changed by the worker that owns them, read by everybody; also the queue.

Every status change is written together with the event that tells of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from gyropilot import clock
from gyropilot.errors import AlreadyExists, LimitExceeded
from gyropilot.names import folded, new_id
from gyropilot.store import events, leases, pages
from gyropilot.store import tags as tags_of
from gyropilot.store.database import Database
from gyropilot.store.events import Event
from gyropilot.store.job_records import JobChanges, JobRecord, JobSummary, NewJob, read_record, read_summary
from gyropilot.store.statuses import OPEN, Status, check_move, is_terminal
from gyropilot.store.tables import jobs as jobs_table
from gyropilot.store.turns import take_turn

__all__ = [
    "JobChanges",
    "JobQuery",
    "JobRecord",
    "NewJob",
    "create",
    "find",
    "first_of_a_repeated_call",
    "get",
    "page",
    "request_stop",
    "update",
]
_SUMMARY_COLUMNS = [jobs_table.c[one.name] for one in fields(JobSummary)]
# Made once: to put a statement together takes longer than to run it.
_BY_NAME = sa.select(jobs_table).where(
    jobs_table.c.account_id == sa.bindparam("account_id"),
    jobs_table.c.region == sa.bindparam("region"),
    jobs_table.c.folded_name == sa.bindparam("folded_name"),
)
_BY_NAME_FOR_UPDATE = _BY_NAME.with_for_update()
_COUNT_OPEN = sa.select(sa.func.count()).where(
    jobs_table.c.account_id == sa.bindparam("account_id"),
    jobs_table.c.region == sa.bindparam("region"),
    jobs_table.c.status.in_(OPEN),
)
_INSERT = sa.insert(jobs_table)


@dataclass(frozen=True, kw_only=True)
class JobQuery:
    """A listing: filters (None filters nothing; times are exclusive bounds), order, and place."""

    account_id: str
    region: str
    created_after: datetime | None = None
    created_before: datetime | None = None
    modified_after: datetime | None = None
    modified_before: datetime | None = None
    name_contains: str | None = None
    """Compared without letter case."""
    status: Status | None = None
    sort_by: Literal["Name", "CreationTime", "Status"]
    sort_order: pages.SortOrder
    limit: int
    after: pages.Cursor | None = None
    """`next_cursor` of the page before; it belongs to one sort_by."""


def create(db: Database, job: NewJob, tags: Mapping[str, str], *, most_open: int | None = None) -> JobRecord:
    """Store a job, its tags and its first event, all or nothing; on disk when this returns.

    The same call again gives the job of the first.

    Args:
        db: the database.
        job: what to store.
        tags: value by key.
        most_open: how many jobs of the account and region may wait or run; None: any number.

    Raises:
        AlreadyExists: a job of this account and region has the name, in whatever letter case.
        LimitExceeded: as many jobs as may be are open.
    """
    with db.write() as connection:
        # An account's creates go one after the other: none passes the limit, and none sees half of another.
        take_turn(connection, f"jobs of {job.account_id} in {job.region}")
        there = _row(connection, job.account_id, job.region, job.name)
        if there is not None:
            return first_of_a_repeated_call(
                read_record(there), invocation_id=job.invocation_id, principal=job.principal, request=job.request
            )
        if most_open is not None:
            _check_open_jobs(connection, job, most_open)
        return _insert(connection, job, tags)


def first_of_a_repeated_call(
    there: JobRecord, *, invocation_id: str | None, principal: str, request: Mapping[str, Any]
) -> JobRecord:
    """Give the job that has the name of one to be created, if the same call made it: of one key, for the same request.

    Raises:
        AlreadyExists: another call made it.
    """
    is_repeated = invocation_id is not None and invocation_id == there.invocation_id
    if is_repeated and there.principal == principal and there.request == request:
        return there
    raise AlreadyExists(
        f"An AutoML job named {there.name!r} already exists (letter case does not count); choose another name."
    )


def find(db: Database, account_id: str, region: str, name: str) -> JobRecord | None:
    """Give the job of that name, in whatever letter case."""
    with db.read() as connection:
        row = _row(connection, account_id, region, name)
    return None if row is None else read_record(row)


def get(db: Database, job_id: str) -> JobRecord | None:
    """Give the job of that id."""
    with db.read() as connection:
        row = connection.execute(sa.select(jobs_table).where(jobs_table.c.id == job_id)).first()
    return None if row is None else read_record(row)


def page(db: Database, query: JobQuery) -> pages.Page[JobSummary]:
    """Give one page of the jobs that pass the filters.

    Raises:
        InvalidRequest: the cursor belongs to another order.
    """
    keys = {
        "Name": (jobs_table.c.folded_name, jobs_table.c.id),
        "CreationTime": (pages.as_number(jobs_table.c.created_at), jobs_table.c.id),
        "Status": (jobs_table.c.status, jobs_table.c.id),
    }[query.sort_by]
    wanted = sa.select(*_SUMMARY_COLUMNS).where(*_filters(query))
    with db.read() as connection:
        rows, cursor = pages.fetch(connection, wanted, keys, query.sort_order, query.limit, query.after)
    return pages.Page(items=tuple(read_summary(row) for row in rows), next_cursor=cursor)


def update(db: Database, lease: leases.Lease, changes: JobChanges) -> JobRecord:
    """Write what the owner changes and give the job as it then is; a status change adds an event of kind `status`.

    A stop may be requested at any moment, so once the job is Stopping a secondary status alone is not written.

    Raises:
        LeaseLost: the lease does not hold; nothing was written.
        ValueError: the move is not allowed, as one out of a terminal status.
    """
    with db.write() as connection:
        leases.check(connection, lease)
        before = _by_id(connection, lease.job_id)
        values = _changed_values(before, changes)
        leases.write_guarded(connection, lease, values)
        if (values["status"], values["secondary_status"]) != (before.status, before.secondary_status):
            _add_status_event(connection, lease.job_id, values)
        return _by_id(connection, lease.job_id)


def request_stop(db: Database, account_id: str, region: str, name: str) -> JobRecord | None:
    """Ask for a graceful end: a job in work goes to Stopping, one that was never claimed to Stopped; None: no such job.

    A job that is stopping or has ended stays as it is.
    """
    with db.write() as connection:
        row = connection.execute(_BY_NAME_FOR_UPDATE, _named(account_id, region, name)).first()
        if row is None or row.status != "InProgress":
            return None if row is None else read_record(row)
        now = clock.now()
        status = "Stopped" if row.attempts == 0 else "Stopping"
        values = {"status": status, "secondary_status": status, "modified_at": now, "stop_requested_at": now}
        if status == "Stopped":
            values["ended_at"] = now
        connection.execute(sa.update(jobs_table).where(jobs_table.c.id == row.id).values(values))
        _add_status_event(connection, row.id, values)
        return _by_id(connection, row.id)


def _row(connection: sa.Connection, account_id: str, region: str, name: str) -> sa.Row[Any] | None:
    return connection.execute(_BY_NAME, _named(account_id, region, name)).first()


def _named(account_id: str, region: str, name: str) -> dict[str, str]:
    return {"account_id": account_id, "region": region, "folded_name": folded(name)}


def _by_id(connection: sa.Connection, job_id: str) -> JobRecord:
    return read_record(connection.execute(sa.select(jobs_table).where(jobs_table.c.id == job_id)).one())


def _check_open_jobs(connection: sa.Connection, job: NewJob, most_open: int) -> None:
    count = connection.execute(_COUNT_OPEN, {"account_id": job.account_id, "region": job.region}).scalar_one()
    if count >= most_open:
        raise LimitExceeded(
            f"The account-level service limit 'Maximum number of concurrent AutoML jobs' is {most_open} Jobs, with "
            f"current utilization of {count} Jobs and a request delta of 1 Jobs. Stop a job or wait for one to end, "
            "or raise the setting open_jobs_per_account."
        )


def _insert(connection: sa.Connection, job: NewJob, tags: Mapping[str, str]) -> JobRecord:
    now = clock.now()
    values: dict[str, Any] = {one.name: getattr(job, one.name) for one in fields(job)}
    values |= {"request": dict(job.request), "spec": dict(job.spec), "resolved": dict(job.resolved)}
    values |= {"id": new_id(), "folded_name": folded(job.name), "created_at": now, "modified_at": now}
    values |= {"status": "InProgress", "secondary_status": "Starting"}
    values |= {"partial_failure_reasons": [], "artifacts": {}, "state": {}}
    values |= {"attempts": 0, "lost_attempts": 0, "last_event": 1, "epoch": 0}
    connection.execute(_INSERT, values)
    tags_of.add(connection, job.arn, tags)
    detail = {"principal": job.principal}
    created = Event(job_id=values["id"], sequence=1, at=now, kind="created", message="Job created", detail=detail)
    events.put(connection, created)
    unset: dict[str, Any] = {one.name: None for one in fields(JobRecord)}
    known = {name: values[name] for name in unset.keys() & values.keys()}
    return JobRecord(**(unset | known | {"partial_failure_reasons": ()}))


def _filters(query: JobQuery) -> list[sa.ColumnElement[bool]]:
    column = jobs_table.c
    filters = [column.account_id == query.account_id, column.region == query.region]
    if query.created_after is not None:
        filters.append(column.created_at > query.created_after)
    if query.created_before is not None:
        filters.append(column.created_at < query.created_before)
    if query.modified_after is not None:
        filters.append(column.modified_at > query.modified_after)
    if query.modified_before is not None:
        filters.append(column.modified_at < query.modified_before)
    if query.name_contains is not None:
        filters.append(column.folded_name.contains(folded(query.name_contains), autoescape=True))
    if query.status is not None:
        filters.append(column.status == query.status)
    return filters


def _changed_values(before: JobRecord, changes: JobChanges) -> dict[str, Any]:
    # A clock that was set back must not end a job before it began.
    now = max(clock.now(), before.modified_at)
    values = {one.name: value for one in fields(changes) if (value := getattr(changes, one.name)) is not None}
    status = changes.status or before.status
    if changes.status is not None or is_terminal(before.status):
        check_move(before.status, status)
    if status != "InProgress" and (changes.status is None or changes.secondary_status is None):
        values["secondary_status"] = status
    values |= {name: dict(values[name]) for name in ("artifacts", "state", "resolved") if name in values}
    values = {"status": status, "secondary_status": before.secondary_status, "modified_at": now} | values
    if is_terminal(status):
        values.setdefault("ended_at", now)
    return values


def _add_status_event(connection: sa.Connection, job_id: str, values: Mapping[str, Any]) -> None:
    detail = {"status": values["status"], "secondary_status": values["secondary_status"]}
    if values.get("failure_reason"):
        detail["failure_reason"] = values["failure_reason"]
    shown = detail["status"] if len(set(detail.values())) == 1 else f"{detail['status']}: {detail['secondary_status']}"
    events.add(connection, job_id, "status", shown, detail)
