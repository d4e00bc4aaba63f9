"""Endpoints: what a caller wants served, what is served, and where between the two it is.

    create --> Creating --> InService <--> Updating          every write of `wanted` raises the generation
                   |            |             |
                   +--> Failed  +-- delete ---+--> Deleting --> (row removed)

control/endpoints.py writes what is wanted; the supervisor (serve/) makes it so and writes status and `serving`. Its
writes name the generation they are about, so that one made for what is wanted no more changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row, select, update

from gyropilot import clock
from gyropilot.errors import LimitExceeded
from gyropilot.store import named_rows, pages, replicas
from gyropilot.store.database import Database
from gyropilot.store.named_rows import NamedQuery, NewRow
from gyropilot.store.replicas import ReplicaRecord
from gyropilot.store.tables import endpoints as endpoints_table
from gyropilot.store.tables import replicas as replicas_table
from gyropilot.store.turns import take_turn

Json = Any
EndpointStatus = Literal["Creating", "InService", "Updating", "Deleting", "Failed"]


@dataclass(frozen=True, kw_only=True)
class EndpointRecord:
    """An endpoint as the store has it."""

    id: str
    account_id: str
    region: str
    name: str
    arn: str
    principal: str
    """Access key id of who created it."""
    status: EndpointStatus
    failure_reason: str | None
    wanted: dict[str, Json]
    """Configuration name and variants, each with its model as it was when this was asked for."""
    serving: dict[str, Json] | None
    """What was `wanted` when the endpoint was last InService; None before the first time."""
    generation: int
    """Raised whenever `wanted` changes; begins with 1."""
    created_at: datetime
    modified_at: datetime


@dataclass(frozen=True, kw_only=True)
class EndpointSummary:
    """What a listing shows of an endpoint."""

    name: str
    arn: str
    status: EndpointStatus
    created_at: datetime
    modified_at: datetime


@dataclass(frozen=True)
class EndpointHead:
    """What changes with every write of an endpoint."""

    generation: int
    status: EndpointStatus
    modified_at: datetime


@dataclass(frozen=True, kw_only=True)
class ReplicaBound:
    """How many replicas an account may have."""

    most: int
    taken_elsewhere: int
    """Replicas that are none of an endpoint's."""


_SUMMARY_COLUMNS = [endpoints_table.c[one.name] for one in fields(EndpointSummary)]


def create(
    db: Database,
    endpoint: NewRow,
    *,
    principal: str,
    wanted: Mapping[str, Json],
    tags: Mapping[str, str],
    most: int | None = None,
    bound: ReplicaBound | None = None,
    call: str | None = None,
) -> EndpointRecord:
    """Store an endpoint that is Creating, and its tags; on disk when this returns. The same `call` gives its first one.

    Raises:
        AlreadyExists: an endpoint of this account and region has the name, in whatever letter case.
        LimitExceeded: the account has `most` endpoints already, or would have more replicas than it may.
    """
    values = {"principal": principal, "status": "Creating", "wanted": dict(wanted), "serving": None, "generation": 1}
    values["creating_call"] = call
    taken = f'Cannot create already existing endpoint "{endpoint.arn}".'

    def check(connection: Connection) -> None:
        if bound is not None:
            _check_replicas(connection, endpoint.account_id, "", wanted, bound)

    made = named_rows.create(db, endpoints_table, endpoint, values, tags, taken=taken, most=most, check=check)
    return _record(made)


def find(db: Database, account_id: str, region: str, name: str) -> EndpointRecord | None:
    """Give the endpoint of exactly that name."""
    row = named_rows.find(db, endpoints_table, account_id, region, name)
    return None if row is None else _record(row)


def find_arn(db: Database, account_id: str, region: str, name: str) -> str | None:
    """Give the ARN of the endpoint of that name, in whatever letter case."""
    return named_rows.find_arn(db, endpoints_table, account_id, region, name)


def get(db: Database, endpoint_id: str) -> EndpointRecord | None:
    """Give the endpoint of that id."""
    row = named_rows.get(db, endpoints_table, endpoint_id)
    return None if row is None else _record(row)


def all_of(db: Database) -> list[EndpointRecord]:
    """Give every endpoint of every account, oldest first."""
    oldest_first = (endpoints_table.c.created_at, endpoints_table.c.id)
    with db.read() as connection:
        return [_record(row) for row in connection.execute(select(endpoints_table).order_by(*oldest_first))]


def heads_of(db: Database) -> dict[str, EndpointHead]:
    """Give of every endpoint of every account, by id and oldest first, what tells whether it has changed."""
    columns = [endpoints_table.c[one.name] for one in fields(EndpointHead)]
    wanted = select(endpoints_table.c.id, *columns).order_by(endpoints_table.c.created_at, endpoints_table.c.id)
    with db.read() as connection:
        return {row[0]: EndpointHead(*row[1:]) for row in connection.execute(wanted)}


def of_account(db: Database, account_id: str, region: str) -> list[EndpointRecord]:
    """Give every endpoint of an account and region, oldest first."""
    columns = endpoints_table.c
    theirs = select(endpoints_table).where(columns.account_id == account_id, columns.region == region)
    with db.read() as connection:
        return [_record(row) for row in connection.execute(theirs.order_by(columns.created_at, columns.id))]


def page(db: Database, query: NamedQuery) -> pages.Page[EndpointSummary]:
    """Give one page of the endpoints that pass the filters.

    Raises:
        InvalidRequest: the cursor belongs to another order.
    """
    rows, cursor = named_rows.page(db, endpoints_table, query, _SUMMARY_COLUMNS)
    listed = tuple(
        EndpointSummary(**{one.name: row._mapping[one.name] for one in fields(EndpointSummary)}) for row in rows
    )
    return pages.Page(items=listed, next_cursor=cursor)


def update_wanted(
    db: Database,
    endpoint_id: str,
    wanted: Mapping[str, Json],
    expected: Collection[EndpointStatus],
    generation: int,
    bound: ReplicaBound | None = None,
) -> EndpointRecord | None:
    """Want something else of an endpoint, which is Updating then, and give it as it then is.

    None, and nothing written: it is in none of the expected statuses, or not of that generation any more.

    Raises:
        LimitExceeded: the account would have more replicas than it may.
    """
    with db.write() as connection:
        if bound is not None:
            whose = select(endpoints_table.c.account_id).where(endpoints_table.c.id == endpoint_id)
            account_id = connection.execute(whose).scalar_one_or_none()
            _check_replicas(connection, account_id or "", endpoint_id, wanted, bound)
        changed = (
            update(endpoints_table)
            .where(
                endpoints_table.c.id == endpoint_id,
                endpoints_table.c.status.in_(list(expected)),
                endpoints_table.c.generation == generation,
            )
            .values(
                wanted=dict(wanted),
                status="Updating",
                failure_reason=None,
                generation=endpoints_table.c.generation + 1,
                modified_at=clock.now(),
            )
            .returning(endpoints_table)
        )
        row = connection.execute(changed).first()
    return None if row is None else _record(row)


def request_delete(db: Database, endpoint_id: str, *, made_by: str | None = None) -> bool:
    """Let an endpoint be Deleting, from whatever it is; say whether this call did it.

    With `made_by`, only an endpoint that this call made is deleted.
    """
    which = [endpoints_table.c.id == endpoint_id, endpoints_table.c.status != "Deleting"]
    if made_by is not None:
        which.append(endpoints_table.c.creating_call == made_by)
    with db.write() as connection:
        changed = update(endpoints_table).where(*which).values(status="Deleting", modified_at=clock.now())
        return connection.execute(changed).rowcount == 1


def set_status(
    db: Database,
    endpoint_id: str,
    *,
    generation: int,
    status: EndpointStatus,
    failure_reason: str | None = None,
    serving: Mapping[str, Json] | None = None,
    switched: Collection[ReplicaRecord] = (),
) -> bool:
    """Say where an endpoint is, for the supervisor; give whether that was written.

    Nothing is written once the generation is another or the endpoint is being deleted. `serving` None leaves what is
    served as it is; a failure reason that is left out is taken away. `switched` are replicas that are put in the
    same moment.
    """
    values: dict[str, Any] = {"status": status, "failure_reason": failure_reason, "modified_at": clock.now()}
    if serving is not None:
        values["serving"] = dict(serving)
    with db.write() as connection:
        changed = (
            update(endpoints_table)
            .where(
                endpoints_table.c.id == endpoint_id,
                endpoints_table.c.generation == generation,
                endpoints_table.c.status != "Deleting",
            )
            .values(values)
        )
        is_written = connection.execute(changed).rowcount == 1
        for one in switched if is_written else ():
            replicas.put_beside(connection, one)
        return is_written


def remove(db: Database, endpoint_id: str) -> bool:
    """Take an endpoint away, with its tags and what is told of its replicas; say whether it was there."""
    with db.write() as connection:
        row = connection.execute(select(endpoints_table).where(endpoints_table.c.id == endpoint_id)).first()
        if row is None:
            return False
        connection.execute(replicas_table.delete().where(replicas_table.c.endpoint_id == endpoint_id))
        return named_rows.remove_row(connection, endpoints_table, endpoint_id, row.arn)


def _check_replicas(
    connection: Connection, account_id: str, endpoint_id: str, wanted: Mapping[str, Json], bound: ReplicaBound
) -> None:
    take_turn(connection, f"replicas of {account_id}")
    theirs = select(endpoints_table).where(endpoints_table.c.account_id == account_id)
    taken = {row.id: _replicas_of(row) for row in connection.execute(theirs)}
    current = sum(taken.values()) + bound.taken_elsewhere
    more = _instances(wanted) - taken.get(endpoint_id, 0)
    if more > 0 and current + more > bound.most:
        raise LimitExceeded(
            "The account-level service limit 'Total number of instances across active endpoints' is "
            f"{bound.most} Instances, with current utilization of {current} Instances and a request delta of {more} "
            "Instances. Each is a replica process of this machine, and those of running transform jobs count too: lower"
            " the number of replicas, delete an endpoint, or raise the setting replicas_per_account."
        )


def _replicas_of(row: Row[Any]) -> int:
    """Give how many replicas an endpoint has, or is to have if that is more."""
    if row.status == "Failed":
        return 0
    if row.status == "InService":  # what an update that failed wanted counts no more
        return _instances(row.serving)
    return max(_instances(row.serving), _instances(row.wanted))


def _instances(asked: Mapping[str, Json] | None) -> int:
    return sum(int(one["instances"]) for one in asked["variants"]) if asked else 0


def _record(row: Row[Any]) -> EndpointRecord:
    return EndpointRecord(**{one.name: row._mapping[one.name] for one in fields(EndpointRecord)})
