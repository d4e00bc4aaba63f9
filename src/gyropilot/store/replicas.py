"""Replicas: the processes that answer for an endpoint, as the supervisor tells of them and the router reads them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row, delete, insert, select, update

from gyropilot import clock
from gyropilot.store.database import Database
from gyropilot.store.tables import replicas as replicas_table

ReplicaStatus = Literal["Starting", "Ready", "Draining", "Failed"]


@dataclass(frozen=True, kw_only=True)
class ReplicaRecord:
    """One replica of a variant of an endpoint; several of them may name one process."""

    id: str
    endpoint_id: str
    generation: int
    """The endpoint's generation that it was started for."""
    variant: str
    number: int
    """Counted from 1 within its variant."""
    status: ReplicaStatus
    socket: str
    """Path of the process's Unix socket."""
    model: str
    """The name under which the model is loaded in that process."""
    restarts: int
    reason: str | None = None
    """Why it Failed, or was started again."""
    modified_at: datetime | None = None


def put(db: Database, replica: ReplicaRecord) -> None:
    """Store a replica, or replace the one of its id; `modified_at` becomes the present moment."""
    with db.write() as connection:
        put_beside(connection, replica)


def put_beside(connection: Connection, replica: ReplicaRecord) -> None:
    """Do as `put` in a transaction that is open."""
    values = {one.name: getattr(replica, one.name) for one in fields(replica)} | {"modified_at": clock.now()}
    there = update(replicas_table).where(replicas_table.c.id == replica.id).values(values)
    if connection.execute(there).rowcount == 0:
        connection.execute(insert(replicas_table).values(values))


def remove(db: Database, replica_id: str) -> bool:
    """Take a replica away and say whether it was there."""
    with db.write() as connection:
        return connection.execute(delete(replicas_table).where(replicas_table.c.id == replica_id)).rowcount == 1


def of_endpoint(db: Database, endpoint_id: str) -> list[ReplicaRecord]:
    """Give the replicas of an endpoint, by variant and number, older generations first."""
    order = (replicas_table.c.variant, replicas_table.c.number, replicas_table.c.generation, replicas_table.c.id)
    wanted = select(replicas_table).where(replicas_table.c.endpoint_id == endpoint_id).order_by(*order)
    with db.read() as connection:
        return [_record(row) for row in connection.execute(wanted)]


def clear_all(db: Database) -> int:
    """Take all replicas away and give how many there were; for the start of the supervisor, when none of them lives."""
    with db.write() as connection:
        return int(connection.execute(delete(replicas_table)).rowcount)


def _record(row: Row[Any]) -> ReplicaRecord:
    return ReplicaRecord(**{one.name: row._mapping[one.name] for one in fields(ReplicaRecord)})
