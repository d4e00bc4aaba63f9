"""Operations of iam: what a role is called in full."""

from __future__ import annotations

from typing import Any

from gyropilot.control import iam_roles
from gyropilot.control.entrance import Caller
from gyropilot.control.house import House

Json = Any


def get_role(house: House, caller: Caller, request: dict[str, Json]) -> dict[str, Json]:
    """Describe a role of the caller's account."""
    return iam_roles.get(house, caller.principal, request["RoleName"])


def list_roles(house: House, caller: Caller, request: dict[str, Json]) -> dict[str, Json]:
    """List the roles of the caller's account, a page at a time."""
    return iam_roles.page(house, caller.principal, request)
