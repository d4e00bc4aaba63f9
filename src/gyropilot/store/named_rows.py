"""Rows that a caller makes under a name of his account and region; models, configurations, endpoints and transform jobs
are kept in tables of that form.

No two rows of a table share a name whose letter case alone differs; a row is found under the name in its own case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, delete, func, insert, select

from gyropilot import clock
from gyropilot.errors import AlreadyExists, LimitExceeded
from gyropilot.names import folded, new_id
from gyropilot.store import pages
from gyropilot.store import tags as tags_of
from gyropilot.store.database import Database
from gyropilot.store.tables import tags as tags_table
from gyropilot.store.turns import take_turn

Json = Any


@dataclass(frozen=True, kw_only=True)
class NewRow:
    """What every row of this form is made with."""

    account_id: str
    region: str
    name: str
    arn: str


@dataclass(frozen=True, kw_only=True)
class NamedSummary:
    """What a listing shows of a row that never changes."""

    name: str
    arn: str
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class NamedQuery:
    """A listing: filters (None filters nothing; times are exclusive bounds), order, and place."""

    account_id: str
    region: str
    created_after: datetime | None = None
    created_before: datetime | None = None
    modified_after: datetime | None = None
    modified_before: datetime | None = None
    name_contains: str | None = None
    """Compared without letter case."""
    status: str | None = None
    sort_by: Literal["Name", "CreationTime", "Status"]
    sort_order: pages.SortOrder
    limit: int
    after: pages.Cursor | None = None
    """`next_cursor` of the page before; it belongs to one sort_by."""


def create(
    db: Database,
    table: Table,
    row: NewRow,
    values: Mapping[str, Any],
    tags: Mapping[str, str],
    *,
    taken: str,
    most: int | None = None,
    check: Callable[[Connection], None] | None = None,
) -> Row[Any]:
    """Store a row and its tags, all or nothing, and give it as it is kept; on disk when this returns.

    The same call again, told by an equal `creating_call` among the values, gives the row of the first.

    Args:
        db: the database.
        table: where to.
        row: whose it is, and its name.
        values: the columns that are the table's own.
        tags: value by key.
        taken: what to tell where the name is taken.
        most: how many rows of the table the account and region may have; None: any number.
        check: called in the transaction before the row is stored; what it raises keeps it from being stored.

    Raises:
        AlreadyExists: a row of this account and region has the name, in whatever letter case.
        LimitExceeded: the account has as many as may be.
    """
    with db.write() as connection:
        # An account's creates go one after the other: none passes the limit, and none sees half of another.
        take_turn(connection, f"{table.name} of {row.account_id} in {row.region}")
        folded_name = folded(row.name)
        there = connection.execute(_of_folded_name(table, row.account_id, row.region, folded_name)).first()
        if there is not None:
            return _first_of_a_repeated_call(there, values, taken)
        if most is not None:
            _check_count(connection, table, row, most)
        if check is not None:
            check(connection)
        kept = vars(row) | {"id": new_id(), "folded_name": folded_name, "created_at": clock.now()} | dict(values)
        if "modified_at" in table.c:
            kept["modified_at"] = kept["created_at"]
        connection.execute(insert(table).values(kept))
        tags_of.add(connection, row.arn, tags)
        return connection.execute(select(table).where(table.c.id == kept["id"])).one()


def find(db: Database, table: Table, account_id: str, region: str, name: str) -> Row[Any] | None:
    """Give the row of exactly that name."""
    with db.read() as connection:
        row = connection.execute(_of_folded_name(table, account_id, region, folded(name))).first()
    return row if row is not None and row.name == name else None


def find_arn(db: Database, table: Table, account_id: str, region: str, name: str) -> str | None:
    """Give the ARN of the row of that name, in whatever letter case; ARNs have names in lower case."""
    with db.read() as connection:
        row = connection.execute(_of_folded_name(table, account_id, region, folded(name))).first()
    return None if row is None else str(row.arn)


def get(db: Database, table: Table, row_id: str) -> Row[Any] | None:
    """Give the row of that id."""
    with db.read() as connection:
        return connection.execute(select(table).where(table.c.id == row_id)).first()


def page(
    db: Database, table: Table, query: NamedQuery, columns: Sequence[ColumnElement[Any]] = ()
) -> tuple[Sequence[Row[Any]], pages.Cursor | None]:
    """Give one page of the rows that pass the filters, whole or only `columns` of them, and where the next begins.

    Raises:
        InvalidRequest: the cursor belongs to another order.
    """
    keys = {"Name": table.c.folded_name, "CreationTime": pages.as_number(table.c.created_at)}
    if "status" in table.c:
        keys["Status"] = table.c.status
    order = (keys[query.sort_by], table.c.id)
    wanted = (select(*columns) if columns else select(table)).where(*_filters(table, query))
    with db.read() as connection:
        return pages.fetch(connection, wanted, order, query.sort_order, query.limit, query.after)


def page_of_summaries(db: Database, table: Table, query: NamedQuery) -> pages.Page[NamedSummary]:
    """Give one page of the rows that pass the filters.

    Raises:
        InvalidRequest: the cursor belongs to another order.
    """
    rows, cursor = page(db, table, query, (table.c.name, table.c.arn, table.c.created_at))
    listed = tuple(NamedSummary(name=row.name, arn=row.arn, created_at=row.created_at) for row in rows)
    return pages.Page(items=listed, next_cursor=cursor)


def remove(db: Database, table: Table, account_id: str, region: str, name: str, *, made_by: str | None = None) -> bool:
    """Take the row of exactly that name away, with its tags, and say whether it was there.

    With `made_by`, it is taken away only if that was its `creating_call`.
    """
    with db.write() as connection:
        row = connection.execute(_of_folded_name(table, account_id, region, folded(name)).with_for_update()).first()
        if row is None or row.name != name or made_by not in (None, row.creating_call):
            return False
        return remove_row(connection, table, row.id, row.arn)


def remove_row(connection: Connection, table: Table, row_id: str, arn: str) -> bool:
    """Take a row and its tags away within a transaction of this package, and say whether it was there."""
    connection.execute(delete(tags_table).where(tags_table.c.arn == arn))
    return connection.execute(delete(table).where(table.c.id == row_id)).rowcount == 1


def _of_folded_name(table: Table, account_id: str, region: str, folded_name: str) -> Select[Any]:
    return select(table).where(
        table.c.account_id == account_id, table.c.region == region, table.c.folded_name == folded_name
    )


def _first_of_a_repeated_call(there: Row[Any], values: Mapping[str, Any], taken: str) -> Row[Any]:
    call = values.get("creating_call")
    if call is None or call != there.creating_call:
        raise AlreadyExists(taken)
    return there


def _check_count(connection: Connection, table: Table, row: NewRow, most: int) -> None:
    counted = select(func.count()).where(table.c.account_id == row.account_id, table.c.region == row.region)
    count = connection.execute(counted).scalar_one()
    if count >= most:
        what = table.name.replace("_", " ")
        unit = what.capitalize()
        raise LimitExceeded(
            f"The account-level service limit 'Number of {what}' is {most} {unit}, with current utilization of {count} "
            f"{unit} and a request delta of 1 {unit}. Delete one of the {what} of this account first, or raise the "
            f"setting {table.name}_per_account."
        )


def _filters(table: Table, query: NamedQuery) -> list[ColumnElement[bool]]:
    column = table.c
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
