"""Events: what happened to a job, append-only, numbered from 1 without gaps.

The job's row carries the last number, so two writers of one job queue at that row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from gyropilot import clock
from gyropilot.errors import LeaseLost
from gyropilot.store import leases
from gyropilot.store.database import Database
from gyropilot.store.tables import events as events_table
from gyropilot.store.tables import jobs as jobs_table

Json = Any

_INSERT = insert(events_table)

_MOST = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened."""

    job_id: str
    sequence: int
    at: datetime
    kind: str
    message: str
    detail: dict[str, Json]


def append(
    db: Database, lease: leases.Lease, kind: str, message: str, detail: Mapping[str, Json] | None = None
) -> Event:
    """Record an event of the job that `lease` owns.

    Raises:
        LeaseLost: the lease does not hold; nothing was written.
    """
    with db.write() as connection:
        leases.check(connection, lease)
        return add(connection, lease.job_id, kind, message, detail or {})


def after(db: Database, job_id: str, sequence: int, limit: int) -> list[Event]:
    """Give up to `limit` events with numbers above `sequence`, oldest first."""
    if sequence >= _MOST:  # PostgreSQL refuses to compare a column with what it cannot hold
        return []
    wanted = (
        select(events_table)
        .where(events_table.c.job_id == job_id, events_table.c.sequence > sequence)
        .order_by(events_table.c.sequence)
        .limit(limit)
    )
    with db.read() as connection:
        return [_event(row) for row in connection.execute(wanted)]


def latest(db: Database, job_id: str, kind: str) -> Event | None:
    """Give the newest event of a kind."""
    wanted = (
        select(events_table)
        .where(events_table.c.job_id == job_id, events_table.c.kind == kind)
        .order_by(events_table.c.sequence.desc())
        .limit(1)
    )
    with db.read() as connection:
        row = connection.execute(wanted).first()
    return None if row is None else _event(row)


def add(connection: Connection, job_id: str, kind: str, message: str, detail: Mapping[str, Json]) -> Event:
    """Record an event within a transaction of this package, which has checked that it may."""
    number = (
        update(jobs_table)
        .where(jobs_table.c.id == job_id)
        .values(last_event=jobs_table.c.last_event + 1)
        .returning(jobs_table.c.last_event)
    )
    sequence = connection.execute(number).scalar()
    if sequence is None:
        raise LeaseLost(f"job {job_id} is gone")
    event = Event(job_id=job_id, sequence=sequence, at=clock.now(), kind=kind, message=message, detail=dict(detail))
    put(connection, event)
    return event


def put(connection: Connection, event: Event) -> None:
    """Store an event whose sequence number its job bears already."""
    connection.execute(_INSERT, vars(event))


def _event(row: Row[Any]) -> Event:
    return Event(**row._mapping)
