"""Transform jobs: created by a request, run by the process that serves (serve/transforms), read by everybody.

    InProgress --> Completed | Failed | Stopped        never begun: a stop request ends it at once
        +--> Stopping --> Completed | Failed | Stopped

One process at a time works on them, the one that holds the home's lock `serve`, so there are no leases here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from functools import partial
from typing import Any, Literal

from sqlalchemy import Connection, Row, case, func, select, update

from gyropilot import clock
from gyropilot.errors import AlreadyExists, LimitExceeded
from gyropilot.names import folded
from gyropilot.store import named_rows, pages
from gyropilot.store.database import Database
from gyropilot.store.named_rows import NamedQuery, NewRow
from gyropilot.store.statuses import OPEN, Status
from gyropilot.store.tables import microseconds
from gyropilot.store.tables import transform_jobs as table

Json = Any


@dataclass(frozen=True, kw_only=True)
class TransformJobRecord:
    """A transform job as the store has it."""

    id: str
    account_id: str
    region: str
    name: str
    arn: str
    principal: str
    """Access key id of who created it."""
    creating_call: str | None
    """The mark of the call that made it; see control/repeated_calls.py."""
    request: dict[str, Json]
    """As it came."""
    model: dict[str, Json]
    """The model as it was then; see control/models.snapshot."""
    status: Status
    failure_reason: str | None
    state: dict[str, Json]
    """What its runner noted: the pinned inputs, what is done."""
    stop_requested_at: datetime | None
    created_at: datetime
    modified_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class TransformJobSummary:
    """What a listing shows of a transform job."""

    id: str
    name: str
    arn: str
    status: Status
    failure_reason: str | None
    created_at: datetime
    modified_at: datetime
    ended_at: datetime | None


_SUMMARY_COLUMNS = [table.c[one.name] for one in fields(TransformJobSummary)]


def create(
    db: Database,
    job: NewRow,
    *,
    principal: str,
    request: Mapping[str, Json],
    model: Mapping[str, Json],
    tags: Mapping[str, str],
    most_open: int,
    call: str | None,
) -> TransformJobRecord:
    """Store a job and its tags; on disk when this returns. The same `call` again gives its first job.

    Raises:
        AlreadyExists: a job of this account and region has the name, in whatever letter case.
        LimitExceeded: `most_open` jobs of the account and region wait or run.
    """
    values = {"principal": principal, "creating_call": call, "request": dict(request), "model": dict(model)}
    values |= {"state": {}, "status": "InProgress"}
    check = partial(_check_open, job=job, most_open=most_open)
    return _record(named_rows.create(db, table, job, values, tags, taken=_taken(job.name), check=check))


def first_of_a_repeated_call(there: TransformJobRecord, call: str | None) -> TransformJobRecord:
    """Give the job that has the name of one to be created, if the same call made it.

    Raises:
        AlreadyExists: another call made it.
    """
    if call is None or call != there.creating_call:
        raise AlreadyExists(_taken(there.name))
    return there


def find(db: Database, account_id: str, region: str, name: str) -> TransformJobRecord | None:
    """Give the job of that name, in whatever letter case."""
    with db.read() as connection:
        row = _row(connection, account_id, region, name)
    return None if row is None else _record(row)


def get(db: Database, job_id: str) -> TransformJobRecord | None:
    """Give the job of that id."""
    row = named_rows.get(db, table, job_id)
    return None if row is None else _record(row)


def page(db: Database, query: NamedQuery) -> pages.Page[TransformJobSummary]:
    """Give one page of the jobs that pass the filters.

    Raises:
        InvalidRequest: the cursor belongs to another order.
    """
    rows, cursor = named_rows.page(db, table, query, _SUMMARY_COLUMNS)
    listed = tuple(
        TransformJobSummary(**{one.name: row._mapping[one.name] for one in fields(TransformJobSummary)}) for row in rows
    )
    return pages.Page(items=listed, next_cursor=cursor)


def cursor_of(one: TransformJobSummary, sort_by: Literal["Name", "CreationTime", "Status"]) -> pages.Cursor:
    """Give the cursor of the page that begins behind a job."""
    key: dict[str, str | int] = {"Name": folded(one.name), "CreationTime": microseconds(one.created_at)}
    key["Status"] = one.status
    return key[sort_by], one.id


def running_requests(db: Database, account_id: str) -> list[dict[str, Json]]:
    """Give the requests of an account's jobs that have begun and not ended, in whatever region."""
    is_running = (table.c.account_id == account_id, table.c.started_at.is_not(None), table.c.status.in_(OPEN))
    with db.read() as connection:
        return [row.request for row in connection.execute(select(table.c.request).where(*is_running))]


def next_open(db: Database, *, limit: int) -> list[TransformJobRecord]:
    """Give the jobs that are to be run or ended: those begun, oldest first, and then the accounts by turns.

    The turn is that of the account with the fewest begun jobs, among such of the one whose last job began longest ago;
    its jobs go in the order they were created.
    """
    is_waiting = table.c.started_at.is_(None)
    oldest_first = (table.c.created_at, table.c.id)
    theirs = table.alias()
    last_begun = select(func.max(theirs.c.started_at)).where(theirs.c.account_id == table.c.account_id)
    of_account = func.row_number().over(partition_by=(table.c.account_id, is_waiting), order_by=oldest_first)
    begun = func.count(table.c.started_at).over(partition_by=table.c.account_id)
    turn = case((is_waiting, begun + of_account), else_=0)
    turns = case((is_waiting, last_begun.scalar_subquery()), else_=None)
    in_order = (turn, turns.nulls_first(), *oldest_first)
    wanted = select(table).where(table.c.status.in_(OPEN)).order_by(*in_order).limit(limit)
    with db.read() as connection:
        return [_record(row) for row in connection.execute(wanted)]


def request_stop(db: Database, account_id: str, region: str, name: str) -> TransformJobRecord | None:
    """Ask a job to end and give it as it was before: one in work goes to Stopping, one never begun to Stopped.

    None: there is no such job. A job that is stopping or has ended stays as it is.
    """
    with db.write() as connection:
        wanted = select(table).where(*_named(account_id, region, name)).with_for_update()
        row = connection.execute(wanted).first()
        if row is not None and row.status == "InProgress":
            now = max(clock.now(), row.modified_at)
            status = "Stopped" if row.started_at is None else "Stopping"
            values = {"status": status, "modified_at": now, "stop_requested_at": now}
            if status == "Stopped":
                values["ended_at"] = now
            connection.execute(update(table).where(table.c.id == row.id).values(values))
        return None if row is None else _record(row)


def begin(db: Database, job_id: str) -> TransformJobRecord | None:
    """Note that a job is worked on and give it as it then is; None where it has ended."""
    with db.write() as connection:
        row = _open_row(connection, job_id)
        if row is None:
            return None
        if row.started_at is None:
            now = max(clock.now(), row.modified_at)
            connection.execute(update(table).where(table.c.id == job_id).values(started_at=now, modified_at=now))
        return _record(connection.execute(select(table).where(table.c.id == job_id)).one())


def note(db: Database, job_id: str, state: Mapping[str, Json]) -> Status | None:
    """Write what the runner notes of an open job and give its status; None where it has ended."""
    with db.write() as connection:
        row = _open_row(connection, job_id)
        if row is None:
            return None
        values = {"state": dict(state), "modified_at": max(clock.now(), row.modified_at)}
        connection.execute(update(table).where(table.c.id == job_id).values(values))
        status: Status = row.status
        return status


def end(db: Database, job_id: str, status: Status, *, failure_reason: str | None = None) -> bool:
    """End an open job for good and say whether it was open."""
    with db.write() as connection:
        row = _open_row(connection, job_id)
        if row is None:
            return False
        now = max(clock.now(), row.modified_at)
        values = {"status": status, "failure_reason": failure_reason, "modified_at": now, "ended_at": now}
        connection.execute(update(table).where(table.c.id == job_id).values(values))
        return True


def _named(account_id: str, region: str, name: str) -> tuple[Any, ...]:
    return table.c.account_id == account_id, table.c.region == region, table.c.folded_name == folded(name)


def _row(connection: Connection, account_id: str, region: str, name: str) -> Row[Any] | None:
    return connection.execute(select(table).where(*_named(account_id, region, name))).first()


def _open_row(connection: Connection, job_id: str) -> Row[Any] | None:
    wanted = select(table).where(table.c.id == job_id, table.c.status.in_(OPEN)).with_for_update()
    return connection.execute(wanted).first()


def _taken(name: str) -> str:
    return f"A transform job named {name!r} already exists (letter case does not count); choose another name."


def _check_open(connection: Connection, *, job: NewRow, most_open: int) -> None:
    is_open = (table.c.account_id == job.account_id, table.c.region == job.region, table.c.status.in_(OPEN))
    count = connection.execute(select(func.count()).where(*is_open)).scalar_one()
    if count >= most_open:
        raise LimitExceeded(
            f"The account-level service limit 'Maximum number of concurrent transform jobs' is {most_open} Jobs, with "
            f"current utilization of {count} Jobs and a request delta of 1 Jobs. Stop a job or wait for one to end, "
            "or raise the setting open_jobs_per_account."
        )


def _record(row: Row[Any]) -> TransformJobRecord:
    return TransformJobRecord(**{one.name: row._mapping[one.name] for one in fields(TransformJobRecord)})
