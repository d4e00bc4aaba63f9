"""The rules of roles: who may hand one to a job, what a job gets by it, and how admins make and remove them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gyropilot import names
from gyropilot.control import accounts
from gyropilot.control.house import House
from gyropilot.errors import AlreadyExists, Fault, InvalidRequest, NotAllowed, NotFound
from gyropilot.names import EVERY_BUCKET, is_s3_uri, split_s3_uri
from gyropilot.store import role_objects, roles
from gyropilot.store.principals import Principal
from gyropilot.store.role_objects import RoleObjects
from gyropilot.store.roles import EVERYBODY, Role

Json = Any


def find_passable(house: House, principal: Principal, arn: str) -> Role | None:
    """Give the role of that ARN; None where there is none, or the principal may not hand it to a job."""
    role = roles.find(house.db, arn)
    if role is None or role.account_id != principal.account_id:
        return None
    # Everybody who may start jobs, that is: a key that only asks for answers passes a role that names it alone.
    everybody = set() if principal.kind == "invoker" else {EVERYBODY}
    return role if ({principal.access_key_id} | everybody) & set(role.passable_by) else None


def objects_of_job(house: House, arn: str) -> RoleObjects:
    """Give the objects that a job with this role may use, by what the role is at this moment.

    Raises:
        NotAllowed: the role is not there any more; nothing stands in for it.
    """
    role = roles.find(house.db, arn)
    if role is None:
        raise NotAllowed(
            f"RoleArn: the role {arn} was removed since the job was created; add it again (`gyropilot roles add`), "
            "then create the job anew"
        )
    return house.objects_of(role)


def create(house: House, principal: Principal, request: Mapping[str, Json]) -> dict[str, Json]:
    """Give CreateJobRoleResponse.

    Raises:
        InvalidRequest: with every fault of the request.
        AlreadyExists: the name is taken, and the request does not ask to replace.
        NotAllowed: the account, or the store, is not the caller's to manage.
        MissingExtra: what reaches external stores is not installed.
    """
    account = accounts.managed(house, principal, request.get("AccountId"))
    if not accounts.manages_all(house, principal) and (request.get("S3Store") or house.settings.s3_endpoint):
        raise NotAllowed("Roles that reach an external store are made by admins of the service's own account.")
    passers = request.get("PassableBy", [EVERYBODY])
    faults = [
        *_prefix_faults("ReadPrefixes", request["ReadPrefixes"]),
        *_prefix_faults("WritePrefixes", request["WritePrefixes"]),
        *_passer_faults(house, account, passers),
    ]
    if faults:
        raise InvalidRequest.of(faults)
    arn = names.role_arn(account, request["RoleName"])
    role = Role(
        arn=arn,
        read_prefixes=tuple(request["ReadPrefixes"]),
        write_prefixes=tuple(request["WritePrefixes"]),
        passable_by=tuple(passers),
        **_store_of(house, arn, request.get("S3Store")),
    )
    house.objects_of(role)  # a store that cannot be opened here is told now, not when a job comes
    if request.get("Replace"):
        roles.add(house.db, role)
    elif not roles.add_new(house.db, role):
        raise AlreadyExists(
            f"There is a role named {request['RoleName']!r} already; `gyropilot roles add --replace` takes its place."
        )
    return {"RoleArn": arn}


def list_roles(house: House, principal: Principal) -> dict[str, Json]:
    """Give ListJobRolesResponse: the roles of the accounts that the caller manages."""
    found = [one for one in roles.all_of(house.db) if accounts.manages(house, principal, one.account_id)]
    return {"Roles": [_described(one) for one in found]}


def describe(house: House, principal: Principal, request: Mapping[str, Json]) -> dict[str, Json]:
    """Give DescribeJobRoleResponse.

    Raises:
        NotFound: the account has no such role.
        NotAllowed: the account is not the caller's to manage.
    """
    arn = names.role_arn(accounts.managed(house, principal, request.get("AccountId")), request["RoleName"])
    role = roles.find(house.db, arn)
    if role is None:
        raise _missing(request["RoleName"])
    return {"Role": _described(role)}


def delete(house: House, principal: Principal, request: Mapping[str, Json]) -> None:
    """Remove a role; jobs that run with it fail at their next read or write.

    Raises:
        NotFound: the account has no such role.
        NotAllowed: the account is not the caller's to manage.
        InvalidRequest: it is the default role, which each start would make anew.
    """
    arn = names.role_arn(accounts.managed(house, principal, request.get("AccountId")), request["RoleName"])
    if arn == names.role_arn(house.settings.account_id, names.DEFAULT_ROLE_NAME):
        raise InvalidRequest(
            where="RoleName",
            found=request["RoleName"],
            problem="is the default role, which each start of the service makes anew",
            fix="narrow it instead: `gyropilot roles add --replace`, with fewer prefixes",
        )
    if not roles.remove(house.db, arn):
        raise _missing(request["RoleName"])


def _prefix_faults(where: str, prefixes: Sequence[str]) -> Iterator[Fault]:
    for prefix in prefixes:
        _, key = split_s3_uri(prefix)
        if prefix == EVERY_BUCKET:
            continue
        if not is_s3_uri(prefix):
            yield Fault(where=where, found=prefix, problem="is not an s3 URI", fix="write s3://bucket or s3://bucket/a")
        elif {".", ".."} & set(key.split("/")):
            yield Fault(where=where, found=prefix, problem="has a segment . or ..", fix="name the prefix in full")
        elif "*" in prefix:
            problem = "has a wildcard; a prefix covers all that lies below it, without one"
            yield Fault(where=where, found=prefix, problem=problem, fix=f"leave it out; {EVERY_BUCKET} is every bucket")


def _passer_faults(house: House, account: str, passers: Sequence[str]) -> Iterator[Fault]:
    for passer in passers:
        found = None if passer == EVERYBODY else house.credentials.find(passer)
        if passer != EVERYBODY and (found is None or found[0].account_id != account):
            problem = f"is no valid key of account {account}"
            fix = f"name one that `gyropilot keys list` shows, or {EVERYBODY} for everybody of the account"
            yield Fault(where="PassableBy", found=passer, problem=problem, fix=fix)


def _store_of(house: House, arn: str, store: Mapping[str, Json] | None) -> dict[str, Json]:
    if store is None:
        return {}
    sealed = role_objects.sealed_keys(house.seal, arn, store["AccessKeyId"], store["SecretAccessKey"])
    return {"s3_endpoint": store["Endpoint"], "s3_region": store["Region"], "sealed_s3_keys": sealed}


def _described(role: Role) -> dict[str, Json]:
    described = {
        "RoleArn": role.arn,
        "RoleName": role.arn.partition(":role/")[2],
        "AccountId": role.account_id,
        "ReadPrefixes": list(role.read_prefixes),
        "WritePrefixes": list(role.write_prefixes),
        "PassableBy": list(role.passable_by),
        "S3Endpoint": role.s3_endpoint or None,
        "S3Region": role.s3_region or None,
        "CreationTime": role.created_at,
    }
    return {name: value for name, value in described.items() if value is not None}


def _missing(name: str) -> NotFound:
    return NotFound(f"There is no role named {name!r}; `gyropilot roles list` shows what there is.")
