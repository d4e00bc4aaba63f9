"""Operations beyond the service's API on access keys, for admins."""

from __future__ import annotations

from typing import Any

from gyropilot.control import keys
from gyropilot.control.entrance import Caller
from gyropilot.control.house import House

Json = Any


def create_caller_key(house: House, caller: Caller, request: dict[str, Json]) -> dict[str, Json]:
    """Make a key; the answer alone has its secret."""
    return keys.create(house, caller.principal, request)


def list_caller_keys(house: House, caller: Caller, request: dict[str, Json]) -> dict[str, Json]:
    """List keys without their secrets."""
    return keys.list_keys(house, caller.principal)


def delete_caller_key(house: House, caller: Caller, request: dict[str, Json]) -> None:
    """End a key."""
    keys.delete(house, caller.principal, request["AccessKeyId"])
