"""Roles: what a job may read and write, in which store, and who may hand the role to a job."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, insert, select, update

from gyropilot import clock
from gyropilot.names import EVERY_BUCKET
from gyropilot.store.database import Database
from gyropilot.store.tables import roles as roles_table
from gyropilot.store.turns import take_turn

EVERYBODY = "*"


@dataclass(frozen=True, kw_only=True)
class Role:
    """An ARN and what it covers; prefixes are s3 URIs, compared on whole segments (`names.is_under`)."""

    arn: str
    read_prefixes: tuple[str, ...]
    write_prefixes: tuple[str, ...]
    passable_by: tuple[str, ...]
    """Access key ids; `*` is everybody of the role's account."""
    s3_endpoint: str = ""
    """URL of the external store that the role works on; empty: the service's own."""
    s3_region: str = ""
    sealed_s3_keys: str | None = None
    """For `store/role_objects.py` to open; two lines, access key and secret."""
    created_at: datetime | None = field(default=None, compare=False)

    @property
    def account_id(self) -> str:
        """The account that the role belongs to."""
        return account_of(self.arn)


def account_of(arn: str) -> str:
    """Give the account in a role's ARN; empty where the text is no ARN."""
    return "".join(arn.split(":")[4:5])


def find(db: Database, arn: str) -> Role | None:
    """Give the role of that ARN."""
    with db.read() as connection:
        row = connection.execute(select(roles_table).where(roles_table.c.arn == arn)).first()
    return None if row is None else _role(row)


def all_of(db: Database) -> list[Role]:
    """Give every role, by ARN."""
    with db.read() as connection:
        return [_role(row) for row in connection.execute(select(roles_table).order_by(roles_table.c.arn))]


def add(db: Database, role: Role) -> None:
    """Store a role, or replace the one of its ARN."""
    with db.write() as connection:
        take_turn(connection, role.arn)
        there = update(roles_table).where(roles_table.c.arn == role.arn).values(_values(role))
        if connection.execute(there).rowcount == 0:
            connection.execute(insert(roles_table).values(_values(role)))


def add_new(db: Database, role: Role) -> bool:
    """Store a role unless its ARN is taken, and say whether it was stored."""
    with db.write() as connection:
        take_turn(connection, role.arn)
        if connection.execute(select(roles_table.c.arn).where(roles_table.c.arn == role.arn)).first() is not None:
            return False
        connection.execute(insert(roles_table).values(_values(role)))
    return True


def remove(db: Database, arn: str) -> bool:
    """Take the role away and say whether it was there."""
    with db.write() as connection:
        return connection.execute(delete(roles_table).where(roles_table.c.arn == arn)).rowcount == 1


def ensure_default(db: Database, arn: str) -> Role:
    """Give the role of that ARN; if it is not there, one that its account may pass and that covers all its buckets."""
    role = find(db, arn)
    if role is None:
        role = Role(arn=arn, read_prefixes=(EVERY_BUCKET,), write_prefixes=(EVERY_BUCKET,), passable_by=(EVERYBODY,))
        if not add_new(db, role):  # another process was first
            role = find(db, arn) or role
    return role


def _values(role: Role) -> dict[str, Any]:
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(role).items()}
    return values | {"created_at": role.created_at or clock.now()}


def _role(row: Row[Any]) -> Role:
    return Role(
        arn=row.arn,
        read_prefixes=tuple(row.read_prefixes),
        write_prefixes=tuple(row.write_prefixes),
        passable_by=tuple(row.passable_by),
        s3_endpoint=row.s3_endpoint,
        s3_region=row.s3_region,
        sealed_s3_keys=row.sealed_s3_keys,
        created_at=row.created_at,
    )
