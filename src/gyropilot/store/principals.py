"""Principals: who may call. The first admin key lies in the home's file, further keys in the table, secrets sealed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from gyropilot import clock, names
from gyropilot.errors import LimitExceeded, SealBroken
from gyropilot.store import first_keys
from gyropilot.store.database import Database
from gyropilot.store.first_keys import Kind, Principal
from gyropilot.store.seals import Seal
from gyropilot.store.tables import principals as principals_table
from gyropilot.store.turns import take_turn

__all__ = ["BELIEVED_SECONDS", "Credentials", "KeyRecord", "Kind", "Principal", "row_name"]

logger = logging.getLogger(__name__)

BELIEVED_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class KeyRecord:
    """A key of the table, without its secret."""

    principal: Principal
    created_at: datetime
    revoked_at: datetime | None


class Credentials:
    """The access keys that are valid: those of the home's file, read once, and those of the table; safe for threads.

    A key of the table is believed for 5 seconds after it was read, which is how long a key revoked by another process
    may still open doors of this one.
    """

    def __init__(
        self, first: Mapping[str, tuple[Principal, str]], db: Database | None = None, seal: Seal | None = None
    ) -> None:
        self._first = dict(first)
        self._db, self._seal = db, seal
        self._lock = threading.Lock()
        self._read: dict[str, tuple[Principal, str, float]] = {}
        self._revoked: set[str] = set()

    @classmethod
    def open(cls, path: Path, account_id: str, *, db: Database | None = None, seal: Seal | None = None) -> Credentials:
        """Read the file; on a first start make it, with one random admin key. Without `db` the file's keys are all.

        Raises:
            InvalidRequest: others than the owner may read the file, it is not as we write it, or it has no admin of
                the account.
        """
        return cls(first_keys.open_file(path, account_id), db, seal)

    def find(self, access_key_id: str) -> tuple[Principal, str] | None:
        """Give the principal of an access key and its secret."""
        if access_key_id in self._first:
            return self._first[access_key_id]
        if self._db is None or not names.is_access_key_id(access_key_id):
            return None
        with self._lock:
            if access_key_id in self._revoked:
                return None
            kept = self._read.get(access_key_id)
        if kept is None or clock.monotonic() - kept[2] >= BELIEVED_SECONDS:
            kept = self._read_anew(access_key_id)
        return None if kept is None else (kept[0], kept[1])

    def find_secret(self, access_key_id: str) -> str | None:
        """Give the secret of an access key."""
        found = self.find(access_key_id)
        return None if found is None else found[1]

    def first_admin(self) -> tuple[str, str]:
        """Give access key id and secret of the first admin key."""
        return first_keys.first_admin(self._first)

    def first(self) -> list[Principal]:
        """Give the principals of the home's file."""
        return [principal for principal, _ in self._first.values()]

    def create(self, *, account_id: str, kind: Kind, name: str, most_valid: int | None = None) -> tuple[Principal, str]:
        """Make a key in the table; its secret is given here and never again.

        Raises:
            LimitExceeded: the account has `most_valid` valid keys in the table; None: any number.
        """
        db, seal = self._table()
        principal = Principal(access_key_id=first_keys.new_key_id(), account_id=account_id, kind=kind, name=name)
        secret = first_keys.new_secret()
        values = {"sealed_secret": seal.seal(secret, row=row_name(principal.access_key_id)), "created_at": clock.now()}
        with db.write() as connection:
            if most_valid is not None:
                _check_valid_keys(connection, account_id, most_valid)
            connection.execute(insert(principals_table).values(**vars(principal), **values))
        return principal, secret

    def revoke(self, access_key_id: str) -> None:
        """End a key of the table and forget its secret; one that is not there is no error."""
        db, _ = self._table()
        of_key = principals_table.c.access_key_id == access_key_id
        with db.write() as connection:
            is_valid = of_key & principals_table.c.revoked_at.is_(None)
            values = {"revoked_at": clock.now(), "sealed_secret": ""}
            connection.execute(update(principals_table).where(is_valid).values(values))
        with self._lock:
            self._revoked.add(access_key_id)
            self._read.pop(access_key_id, None)

    def created(self) -> list[KeyRecord]:
        """Give the keys of the table, revoked ones too, oldest first."""
        db, _ = self._table()
        columns = principals_table.c
        with db.read() as connection:
            rows = connection.execute(select(principals_table).order_by(columns.created_at, columns.access_key_id))
            return [
                KeyRecord(principal=_principal(row), created_at=row.created_at, revoked_at=row.revoked_at)
                for row in rows
            ]

    def _read_anew(self, access_key_id: str) -> tuple[Principal, str, float] | None:
        db, seal = self._table()
        read_at = clock.monotonic()
        is_valid = (principals_table.c.access_key_id == access_key_id) & principals_table.c.revoked_at.is_(None)
        with db.read() as connection:
            row = connection.execute(select(principals_table).where(is_valid)).first()
        found = None if row is None else self._opened(row, seal, read_at)
        with self._lock:
            if found is None:
                self._read.pop(access_key_id, None)
            else:
                self._read[access_key_id] = found
        return found

    @staticmethod
    def _opened(row: Row[Any], seal: Seal, read_at: float) -> tuple[Principal, str, float] | None:
        try:
            secret = seal.unseal(row.sealed_secret, row=row_name(row.access_key_id))
        except SealBroken as error:
            logger.error("the key %s cannot be used: %s", row.access_key_id, error)
            return None
        return _principal(row), secret, read_at

    def _table(self) -> tuple[Database, Seal]:
        if self._db is None or self._seal is None:
            raise RuntimeError("these credentials were opened without the database")
        return self._db, self._seal

    def __repr__(self) -> str:
        return f"Credentials({', '.join(self._first)})"


def row_name(access_key_id: str) -> str:
    """Give the name of a key's row, to which its sealed secret is bound."""
    return f"principals/{access_key_id}"


def _check_valid_keys(connection: Connection, account_id: str, most_valid: int) -> None:
    take_turn(connection, f"keys of {account_id}")
    is_valid = (principals_table.c.account_id == account_id) & principals_table.c.revoked_at.is_(None)
    count = connection.execute(select(func.count()).select_from(principals_table).where(is_valid)).scalar_one()
    if count >= most_valid:
        raise LimitExceeded(f"Account {account_id} has {count} valid keys; revoke those that are not used.")


def _principal(row: Row[Any]) -> Principal:
    return Principal(access_key_id=row.access_key_id, account_id=row.account_id, kind=row.kind, name=row.name)
