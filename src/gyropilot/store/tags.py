"""Tags of resources, by ARN."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, delete, insert, select, update

from gyropilot.store.database import Database
from gyropilot.store.tables import tags as tags_table


def all_of(db: Database, arn: str) -> dict[str, str]:
    """Give value by key, keys in byte order."""
    wanted = select(tags_table.c.key, tags_table.c.value).where(tags_table.c.arn == arn).order_by(tags_table.c.key)
    with db.read() as connection:
        return {row.key: row.value for row in connection.execute(wanted)}


def put(db: Database, arn: str, tags: Mapping[str, str]) -> None:
    """Add tags; those whose keys are there take the new value."""
    with db.write() as connection:
        add(connection, arn, tags)


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
