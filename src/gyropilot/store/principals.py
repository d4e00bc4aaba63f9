"""Principals: who may call, and the owner-only file that holds their secrets.

{"<access key id>": {"secret": "...", "kind": "admin", "name": "first", "account_id": "000000000000"}}
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from gyropilot.errors import InvalidRequest
from gyropilot.store.folders import make_private_folder

Kind = Literal["admin", "operator", "invoker"]
_KINDS: tuple[Kind, ...] = get_args(Kind)
_LARGEST_BYTES = 4 * 1024 * 1024
_FIX = "restore the file from a copy, or remove it: the next start makes a fresh key"


@dataclass(frozen=True, kw_only=True)
class Principal:
    """A caller."""

    access_key_id: str
    account_id: str
    kind: Kind
    name: str


class Credentials:
    """The access keys of a home, read once; safe for threads."""

    def __init__(self, known: Mapping[str, tuple[Principal, str]]) -> None:
        self._known = dict(known)

    @classmethod
    def open(cls, path: Path, account_id: str) -> Credentials:
        """Read the file; on a first start make it, with one random admin key.

        Raises:
            InvalidRequest: others than the owner may read the file, or it is not as we write it.
        """
        if not path.exists():
            _write(path, {_new_key_id(): _new_admin(account_id)})
        entries = _read(path)
        known = {key: _entry(path, key, entry) for key, entry in entries.items()}
        if not any(principal.kind == "admin" for principal, _ in known.values()):
            raise InvalidRequest(where=str(path), problem="holds no admin key", fix=_FIX)
        return cls(known)

    def find(self, access_key_id: str) -> tuple[Principal, str] | None:
        """Give the principal of an access key and its secret."""
        return self._known.get(access_key_id)

    def find_secret(self, access_key_id: str) -> str | None:
        """Give the secret of an access key."""
        found = self.find(access_key_id)
        return None if found is None else found[1]

    def first_admin(self) -> tuple[str, str]:
        """Give access key id and secret of the first admin key."""
        return next((key, secret) for key, (principal, secret) in self._known.items() if principal.kind == "admin")

    def __repr__(self) -> str:
        return f"Credentials({', '.join(self._known)})"


def _read(path: Path) -> dict[str, Any]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    with os.fdopen(descriptor, encoding="utf-8") as file:
        status = os.fstat(descriptor)
        if stat.S_IMODE(status.st_mode) & 0o077 or status.st_uid != os.geteuid():
            raise InvalidRequest(
                where=str(path),
                found=f"mode {stat.S_IMODE(status.st_mode):04o}, owner {status.st_uid}",
                problem="holds secrets and can be reached by others",
                fix=f"make it yours alone: chmod 600 {path}; if others may have read it, remove it for a fresh key",
            )
        try:
            entries = json.loads(file.read(_LARGEST_BYTES))
        except (ValueError, RecursionError) as error:
            raise InvalidRequest(where=str(path), problem=f"is not JSON: {error}", fix=_FIX) from error
    if not isinstance(entries, dict):
        raise InvalidRequest(where=str(path), problem="is not an object of access keys", fix=_FIX)
    return entries


def _entry(path: Path, key: str, entry: object) -> tuple[Principal, str]:
    where = f"{path}: {key}"
    names = ("secret", "kind", "name", "account_id")
    if not isinstance(entry, dict) or not all(isinstance(entry.get(name), str) for name in names):
        raise InvalidRequest(where=where, problem=f"must have the texts {', '.join(names)}", fix=_FIX)
    kind = next((one for one in _KINDS if one == entry["kind"]), None)
    if kind is None:
        raise InvalidRequest(
            where=f"{where}.kind",
            found=entry["kind"],
            problem="is no kind of principal",
            fix=f"use one of {', '.join(_KINDS)}",
        )
    if len(entry["secret"]) < 16:
        raise InvalidRequest(where=f"{where}.secret", problem="is shorter than 16 characters", fix=_FIX)
    principal = Principal(access_key_id=key, account_id=entry["account_id"], kind=kind, name=entry["name"])
    return principal, entry["secret"]


def _write(path: Path, entries: Mapping[str, Mapping[str, str]]) -> None:
    make_private_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(entries, file, indent=1)
            file.flush()
            os.fsync(descriptor)
        # A link, unlike a rename, takes no file away: of two that start at once the first one's key stays.
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _new_key_id() -> str:
    return "GYRO" + "".join(secrets.choice(string.ascii_uppercase + "234567") for _ in range(16))


def _new_admin(account_id: str) -> dict[str, str]:
    secret = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(40))
    return {"secret": secret, "kind": "admin", "name": "first", "account_id": account_id}
