"""Roles as IAM tells of them, for clients that ask it for the ARN of a role; they are made by `control/roles.py`."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from gyropilot import names
from gyropilot.control.house import House
from gyropilot.errors import NotFound
from gyropilot.store import roles
from gyropilot.store.principals import Principal
from gyropilot.store.roles import Role

Json = Any

ROLES_PER_PAGE = 100
_PATH = "/"
_TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
_UNTOLD = datetime(1970, 1, 1, tzinfo=UTC)
"""Stands for when a role was made that is older than the record of it."""


def get(house: House, principal: Principal, name: str) -> dict[str, Json]:
    """Give GetRoleResponse.

    Raises:
        NotFound: the caller's account has no such role.
    """
    role = roles.find(house.db, names.role_arn(principal.account_id, name))
    if role is None:
        raise NotFound(f"The role with name {name} cannot be found.")
    return {"Role": _described(role)}


def page(house: House, principal: Principal, request: Mapping[str, Json]) -> dict[str, Json]:
    """Give ListRolesResponse: the account's roles by name, all of the path `/`."""
    of_account = [one for one in roles.all_of(house.db) if one.account_id == principal.account_id]
    after, limit = request.get("Marker", ""), request.get("MaxItems", ROLES_PER_PAGE)
    is_asked = request.get("PathPrefix", _PATH) == _PATH
    left = sorted((one for one in of_account if is_asked and _name(one) > after), key=_name)
    listed = left[:limit]
    if len(left) <= limit:
        return {"Roles": [_described(one) for one in listed], "IsTruncated": False}
    return {"Roles": [_described(one) for one in listed], "IsTruncated": True, "Marker": _name(listed[-1])}


def _described(role: Role) -> dict[str, Json]:
    return {
        "Path": _PATH,
        "RoleName": _name(role),
        "RoleId": _id(role),
        "Arn": role.arn,
        "CreateDate": role.created_at or _UNTOLD,
        "AssumeRolePolicyDocument": quote(json.dumps(_TRUST, separators=(",", ":")), safe=""),
    }


def _name(role: Role) -> str:
    return role.arn.partition(":role/")[2]


def _id(role: Role) -> str:
    """Give what IAM calls the role for good: letters and digits that its ARN alone decides."""
    return "AROA" + base64.b32encode(hashlib.sha256(role.arn.encode()).digest())[:17].decode()
