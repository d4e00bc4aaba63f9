"""Places in buckets that a request names, held against the role it passes; what is wrong with them, as faults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gyropilot import names
from gyropilot.control import roles
from gyropilot.control.house import House
from gyropilot.errors import Fault, NotAllowed, SealBroken
from gyropilot.names import is_s3_uri, is_under, split_s3_uri
from gyropilot.store.principals import Principal
from gyropilot.store.role_objects import RoleObjects
from gyropilot.store.roles import Role


@dataclass(frozen=True, kw_only=True)
class Places:
    """A role, and what it reaches."""

    role: Role
    objects: RoleObjects


def open_places(house: House, principal: Principal, where: str, arn: str) -> tuple[Places | None, list[Fault]]:
    """Give what the role of that ARN reaches, if the caller may pass it; None, and why, if not.

    Args:
        house: the parts.
        principal: the caller.
        where: the field that names the role, as the caller wrote it.
        arn: the role's.
    """
    role = roles.find_passable(house, principal, arn)
    if role is None:
        problem = "no such role, or it may not be passed by this access key"
        return None, [Fault(where=where, found=arn, problem=problem, fix=_role_fix(house, principal))]
    return reached_by(house, role, where)


def reached_by(house: House, role: Role, where: str) -> tuple[Places | None, list[Fault]]:
    """Give what a role reaches; None, and why, where its store cannot be opened."""
    try:
        return Places(role=role, objects=house.objects_of(role)), []
    except SealBroken as error:
        fix = "ask an admin to make the role anew"
        return None, [Fault(where=where, found=role.arn, problem=f"cannot be used: {error}", fix=fix)]


def uri_faults(places: Places | None, where: str, uri: str, verb: Literal["read", "write"]) -> Iterator[Fault]:
    """Give what is wrong with an s3 URI that is to be read or written; without places, its form alone is looked at."""
    _, key = split_s3_uri(uri)
    if not is_s3_uri(uri):
        yield Fault(where=where, found=uri, problem="is not an s3 URI", fix="write s3://bucket/key")
    elif any(segment in {"..", "."} for segment in key.split("/")):
        yield Fault(where=where, found=uri, problem="has a segment . or ..", fix="name the key in full")
    elif places is not None:  # without a role there is no store to look into
        yield from _place_faults(places, where, uri, verb)


def store_fault(where: str, uri: str, error: Exception) -> Fault:
    """Give the fault of a place whose store did not serve us."""
    return Fault(
        where=where,
        found=uri,
        problem=f"the role's object store cannot be used: {error}",
        fix="see that it runs and takes the role's keys; `gyropilot roles show` names it",
    )


def _role_fix(house: House, principal: Principal) -> str:
    default = names.role_arn(principal.account_id, names.DEFAULT_ROLE_NAME)
    if roles.find_passable(house, principal, default) is not None:
        return f"name {default}, or another role of your account; an admin sees them by `gyropilot roles list`"
    return f"ask an admin for a role of account {principal.account_id}, made by `gyropilot roles add`"


def _place_faults(places: Places, where: str, uri: str, verb: Literal["read", "write"]) -> Iterator[Fault]:
    prefixes = places.role.read_prefixes if verb == "read" else places.role.write_prefixes
    if not any(is_under(uri, prefix) for prefix in prefixes):
        problem = f"lies outside what the role may {verb}: {', '.join(prefixes) or 'nothing'}"
        yield Fault(where=where, found=uri, problem=problem, fix="use another place or another role")
        return
    bucket, _ = split_s3_uri(uri)
    try:
        is_there = places.objects.bucket_exists(bucket)
    except (NotAllowed, OSError) as error:
        yield store_fault(where, uri, error)
        return
    if not is_there:
        problem = f"there is no bucket {bucket!r}"
        yield Fault(where=where, found=uri, problem=problem, fix=f"create it: aws s3 mb s3://{bucket}")
