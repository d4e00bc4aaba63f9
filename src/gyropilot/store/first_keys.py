"""The keys of the home's owner-only file, the first admin's among them; read without the database and its library.

{"<access key id>": {"secret": "...", "kind": "admin", "name": "first", "account_id": "000000000000"}}
"""

from __future__ import annotations

import json
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from gyropilot.errors import InvalidRequest
from gyropilot.store import private_files

Kind = Literal["admin", "operator", "invoker"]

_KINDS: tuple[Kind, ...] = get_args(Kind)
_FIX = "restore the file from a copy, or remove it: the next start makes a fresh key"


@dataclass(frozen=True, kw_only=True)
class Principal:
    """A caller."""

    access_key_id: str
    account_id: str
    kind: Kind
    name: str


def open_file(path: Path, account_id: str) -> dict[str, tuple[Principal, str]]:
    """Give principal and secret by access key id; on a first start make the file, with one random admin key.

    Raises:
        InvalidRequest: others than the owner may read the file, it is not as we write it, or it has no admin of
            the account.
    """
    if not path.exists():
        private_files.make(path, json.dumps({new_key_id(): _new_admin(account_id)}, indent=1).encode())
    known = {key: _entry(path, key, entry) for key, entry in _entries(path).items()}
    accounts = {principal.account_id for principal, _ in known.values() if principal.kind == "admin"}
    if not accounts:
        raise InvalidRequest(where=str(path), problem="holds no admin key", fix=_FIX)
    if account_id not in accounts:
        of_home = " or ".join(sorted(accounts))
        raise InvalidRequest(
            where="setting account_id",
            found=account_id,
            problem=f"is not the account of this home, which its first start fixed: {of_home}",
            fix=f"set account_id to {of_home}, or choose another home",
        )
    return known


def first_admin(keys: Mapping[str, tuple[Principal, str]]) -> tuple[str, str]:
    """Give access key id and secret of the first admin key."""
    return next((key, secret) for key, (principal, secret) in keys.items() if principal.kind == "admin")


def new_key_id() -> str:
    """Give a fresh access key id."""
    return "GYRO" + "".join(secrets.choice(string.ascii_uppercase + "234567") for _ in range(16))


def new_secret() -> str:
    """Give a fresh secret."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(40))


def _entries(path: Path) -> dict[str, Any]:
    try:
        entries = json.loads(private_files.read(path))
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(where=str(path), problem=f"is not JSON: {error}", fix=_FIX) from error
    if not isinstance(entries, dict):
        raise InvalidRequest(where=str(path), problem="is not an object of access keys", fix=_FIX)
    return entries


def _entry(path: Path, key: str, entry: object) -> tuple[Principal, str]:
    where = f"{path}: {key}"
    members = ("secret", "kind", "name", "account_id")
    if not isinstance(entry, dict) or not all(isinstance(entry.get(name), str) for name in members):
        raise InvalidRequest(where=where, problem=f"must have the texts {', '.join(members)}", fix=_FIX)
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


def _new_admin(account_id: str) -> dict[str, str]:
    return {"secret": new_secret(), "kind": "admin", "name": "first", "account_id": account_id}
