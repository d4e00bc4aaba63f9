"""The sealed secrets of the database, and which of them the home's seal key does not open; for the start and doctor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, select

from gyropilot.errors import Fault, SealBroken
from gyropilot.store import principals, role_objects, tables
from gyropilot.store.seals import Seal


@dataclass(frozen=True, kw_only=True)
class SealedRow:
    """A secret as it stands in the database."""

    row: str
    """What holds it, as `principals/<access key id>`; it is sealed for this row alone."""
    sealed: str


def read(connection: Connection) -> list[SealedRow]:
    """Give the secrets of the keys that are valid, and of the roles that have a store of their own."""
    keys, roles = tables.principals.c, tables.roles.c
    valid = select(keys.access_key_id, keys.sealed_secret).where(keys.revoked_at.is_(None))
    external = select(roles.arn, roles.sealed_s3_keys).where(roles.s3_endpoint != "")
    found = [(principals.row_name(row[0]), row[1]) for row in connection.execute(valid)]
    found += [(role_objects.row_name(row[0]), row[1]) for row in connection.execute(external)]
    return [SealedRow(row=row, sealed=sealed) for row, sealed in found if sealed]


def lost(rows: Iterable[SealedRow], seal: Seal | None) -> list[str]:
    """Give the names of the rows that the key does not open; None is a key that is not there."""
    return [one.row for one in rows if seal is None or not _opens(seal, one)]


def fault(rows: list[str], path: Path) -> Fault:
    """Give what is wrong where these rows do not open under the key in the file `path`, and how to mend it."""
    shown = ", ".join(rows[:3]) + (f" and {len(rows) - 3} more" if len(rows) > 3 else "")
    return Fault(
        where=str(path),
        problem=f"is not the key under which these secrets in the database were sealed: {shown}",
        fix="restore the file from a copy, with the service stopped; without one, revoke those keys"
        " (gyropilot keys revoke) and make them and those roles anew",
    )


def _opens(seal: Seal, one: SealedRow) -> bool:
    try:
        seal.unseal(one.sealed, row=one.row)
    except SealBroken:
        return False
    return True
