"""Asynchronous invocations: taken by a door, on disk before that is said; worked off by the runner in `serve`.

    add --> Waiting --take--> Running --remove--> (done: its answer or its failure lies where it was promised)
               ^                  |
               +---- give_back ---+      and all of them at the start of the runner, when no earlier one lives

One runner works at a time, the one of the process that holds the home's lock `serve`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, Row, delete, func, insert, select, update

from gyropilot import clock
from gyropilot.errors import Unavailable
from gyropilot.store.database import Database
from gyropilot.store.tables import async_invocations as invocations_table

Json = Any
MOST_WAITING = 100_000
"""Of one endpoint; it may be passed by as many as are added in one moment."""

_columns = invocations_table.c


@dataclass(frozen=True, kw_only=True)
class AsyncInvocation:
    """One invocation as the store has it; `request` is what control/async_invocations.py wrote."""

    id: str
    endpoint_id: str
    request: dict[str, Json]
    status: Literal["Waiting", "Running"]
    attempts: int
    """How often it was taken up, without those times after which it was as if it had not been."""
    created_at: datetime
    expires_at: datetime


def add(db: Database, invocation_id: str, endpoint_id: str, request: Mapping[str, Json], *, ttl_seconds: float) -> None:
    """Store an invocation that waits, for that long at most; on disk when this returns.

    Raises:
        Unavailable: too many wait already.
    """
    now = clock.now()
    values = {
        "id": invocation_id,
        "endpoint_id": endpoint_id,
        "request": dict(request),
        "status": "Waiting",
        "attempts": 0,
        "created_at": now,
        "expires_at": now + timedelta(seconds=ttl_seconds),
    }
    of_endpoint = (_columns.endpoint_id == endpoint_id, _columns.status == "Waiting")
    with db.read() as connection:  # not in the write, which would keep all other writers waiting while it counts
        waiting = connection.execute(select(func.count()).select_from(invocations_table).where(*of_endpoint))
        if waiting.scalar_one() >= MOST_WAITING:
            raise Unavailable(f"{MOST_WAITING} invocations wait for this endpoint already; try again later.")
    with db.write() as connection:
        connection.execute(insert(invocations_table).values(values))


def waiting_endpoints(db: Database) -> list[str]:
    """Give the ids of the endpoints for which invocations wait, in their order."""
    found: list[str] = []
    with db.read() as connection:
        while True:  # one look into the index for each: DISTINCT would go through all that wait
            is_next = (_columns.status == "Waiting", _columns.endpoint_id > (found[-1] if found else ""))
            endpoint_id = connection.execute(select(func.min(_columns.endpoint_id)).where(*is_next)).scalar_one()
            if endpoint_id is None:
                return found
            found.append(str(endpoint_id))


def take(db: Database, endpoint_id: str, most: int) -> list[AsyncInvocation]:
    """Let the oldest that wait for an endpoint, `most` at most, be Running, and give them."""
    return _take(db, _columns.endpoint_id == endpoint_id, _columns.created_at, most)


def take_expired(db: Database, most: int) -> list[AsyncInvocation]:
    """Do the same with those, of whichever endpoint, that waited longer than they may."""
    return _take(db, _columns.expires_at <= clock.now(), _columns.expires_at, most)


def give_back(db: Database, invocation: AsyncInvocation, *, is_counted: bool) -> None:
    """Let an invocation wait again; `is_counted` says whether the time it was taken up counts as an attempt."""
    attempts = invocation.attempts if is_counted else invocation.attempts - 1
    changed = update(invocations_table).where(_columns.id == invocation.id)
    with db.write() as connection:
        connection.execute(changed.values(status="Waiting", attempts=attempts))


def give_back_failed(db: Database, invocation: AsyncInvocation, failure: Mapping[str, Json], until: datetime) -> None:
    """Let an invocation whose failure cannot be stored wait again with it, until that moment at most."""
    changed = update(invocations_table).where(_columns.id == invocation.id)
    values = {"status": "Waiting", "request": invocation.request | {"failure": dict(failure)}, "expires_at": until}
    with db.write() as connection:
        connection.execute(changed.values(values))


def give_all_back(db: Database) -> int:
    """Let all that ran under an earlier runner wait again, no attempt counted, and give how many those are."""
    changed = update(invocations_table).where(_columns.status == "Running")
    with db.write() as connection:
        return int(connection.execute(changed.values(status="Waiting", attempts=_columns.attempts - 1)).rowcount)


def remove(db: Database, invocation_id: str) -> None:
    """Take away an invocation that is done."""
    with db.write() as connection:
        connection.execute(delete(invocations_table).where(_columns.id == invocation_id))


def _take(db: Database, which: ColumnElement[bool], order: ColumnElement[Any], most: int) -> list[AsyncInvocation]:
    is_waiting = _columns.status == "Waiting"
    oldest = select(_columns.id).where(is_waiting, which).order_by(order, _columns.id).limit(most)
    with db.read() as connection:  # looked at first: one who finds nothing must not write to the disk
        ids = [row.id for row in connection.execute(oldest)]
    if not ids:
        return []
    taken = (
        update(invocations_table)
        .where(is_waiting, _columns.id.in_(ids))
        .values(status="Running", attempts=_columns.attempts + 1)
        .returning(invocations_table)
    )
    with db.write() as connection:
        found = [_record(row) for row in connection.execute(taken)]
    return sorted(found, key=lambda one: (one.created_at, one.id))


def _record(row: Row[Any]) -> AsyncInvocation:
    return AsyncInvocation(**{one.name: row._mapping[one.name] for one in fields(AsyncInvocation)})
