"""Operations beyond the service's API on the roles of jobs, for admins."""

from __future__ import annotations

from typing import Any

from gyropilot.control import roles
from gyropilot.control.entrance import Caller
from gyropilot.control.house import House

Json = Any


def create_job_role(house: House, caller: Caller, request: dict[str, Json]) -> dict[str, Json]:
    """Make a role."""
    return roles.create(house, caller.principal, request)


def list_job_roles(house: House, caller: Caller, request: dict[str, Json]) -> dict[str, Json]:
    """List the roles."""
    return roles.list_roles(house, caller.principal)


def describe_job_role(house: House, caller: Caller, request: dict[str, Json]) -> dict[str, Json]:
    """Show a role."""
    return roles.describe(house, caller.principal, request)


def delete_job_role(house: House, caller: Caller, request: dict[str, Json]) -> None:
    """Remove a role."""
    roles.delete(house, caller.principal, request)
