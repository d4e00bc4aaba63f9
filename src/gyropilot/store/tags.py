"""Tags of resources, by ARN."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, delete, insert, select, update

from gyropilot.errors import InvalidRequest
from gyropilot.store import pages
from gyropilot.store.database import Database
from gyropilot.store.tables import tags as tags_table
from gyropilot.store.turns import take_turn

MOST = 50
"""Tags that one resource may bear."""


def all_of(db: Database, arn: str) -> dict[str, str]:
    """Give value by key, keys in byte order."""
    with db.read() as connection:
        return _all(connection, arn)


def page(db: Database, arn: str, limit: int, after: pages.Cursor | None) -> pages.Page[tuple[str, str]]:
    """Give one page of keys and values, keys in byte order.

    Raises:
        InvalidRequest: the cursor is none of this listing.
    """
    wanted = select(tags_table.c.key, tags_table.c.value).where(tags_table.c.arn == arn)
    with db.read() as connection:
        rows, cursor = pages.fetch(connection, wanted, [tags_table.c.key], "Ascending", limit, after)
    return pages.Page(items=tuple((row.key, row.value) for row in rows), next_cursor=cursor)


def put(db: Database, arn: str, tags: Mapping[str, str]) -> dict[str, str]:
    """Add tags, those whose keys are there take the new value; give all that the resource then bears.

    Raises:
        InvalidRequest: they would be too many; nothing was written.
    """
    with db.write() as connection:
        take_turn(connection, arn)
        count = len(_all(connection, arn).keys() | tags.keys())
        if count > MOST:
            raise InvalidRequest(
                where="Tags",
                found=count,
                problem=f"a resource bears at most {MOST} tags",
                fix="take some away with DeleteTags first",
            )
        add(connection, arn, tags)
        return _all(connection, arn)


def remove(db: Database, arn: str, keys: Collection[str]) -> None:
    """Take tags away; keys that are not there are no error."""
    with db.write() as connection:
        connection.execute(delete(tags_table).where(tags_table.c.arn == arn, tags_table.c.key.in_(list(keys))))


def add(connection: Connection, arn: str, tags: Mapping[str, str]) -> None:
    """Add tags within a transaction of this package."""
    for key, value in tags.items():
        there = update(tags_table).where(tags_table.c.arn == arn, tags_table.c.key == key).values(value=value)
        if connection.execute(there).rowcount == 0:
            connection.execute(insert(tags_table).values(arn=arn, key=key, value=value))


def _all(connection: Connection, arn: str) -> dict[str, str]:
    wanted = select(tags_table.c.key, tags_table.c.value).where(tags_table.c.arn == arn).order_by(tags_table.c.key)
    return {row.key: row.value for row in connection.execute(wanted)}
