"""What a create request must satisfy beyond its shape, before a job exists; all faults are gathered.

Rules of one problem type stand in its `request.py`; here are those that hold for every job.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from gyropilot import names
from gyropilot.control import roles, tags
from gyropilot.control.house import House
from gyropilot.data import channels
from gyropilot.errors import Fault, InvalidData, InvalidRequest, MissingExtra, NotAllowed, SealBroken
from gyropilot.names import is_s3_uri, is_under, split_s3_uri
from gyropilot.problems import catalog
from gyropilot.problems.contract import Problem, RequestContext, Spec
from gyropilot.store.principals import Principal
from gyropilot.store.role_objects import RoleObjects
from gyropilot.store.roles import Role

Json = Any


def admit(house: House, principal: Principal, request: Mapping[str, Json]) -> tuple[Problem, Spec]:
    """Give the request's problem and its spec.

    Raises:
        InvalidRequest: with every fault found in the request.
        MissingExtra: the problem's optional dependencies are not installed.
    """
    faults = [
        *_refused_fields(request),
        *tags.faults_of(request.get("Tags", [])),
        *_location_faults(house, principal, request),
    ]
    problem, spec = _read(house, request, faults)
    if faults or problem is None or spec is None:
        raise InvalidRequest.of(faults)
    return problem, spec


@dataclass(frozen=True, kw_only=True)
class _Places:
    """A role that may be passed, and what it reaches."""

    role: Role
    objects: RoleObjects


@dataclass(frozen=True, kw_only=True)
class S3Source:
    """Where a channel lies."""

    s3_data_type: str
    s3_uri: str


def channel_path(number: int) -> str:
    """Give the path of a channel's S3Uri as the caller wrote it."""
    return f"AutoMLJobInputDataConfig[{number}].DataSource.S3DataSource.S3Uri"


def _read(house: House, request: Mapping[str, Json], faults: list[Fault]) -> tuple[Problem | None, Spec | None]:
    try:
        problem = catalog.find(request, house.problems)
    except InvalidRequest as error:
        faults.extend(error.faults)
        return None, None
    _check_installed(problem)
    try:
        return problem, problem.read_request(request, RequestContext(base_models=house.base_models))
    except InvalidRequest as error:
        faults.extend(error.faults)
        return problem, None


def _check_installed(problem: Problem) -> None:
    missing = [module for module in problem.modules if importlib.util.find_spec(module) is None]
    if missing:
        raise MissingExtra(problem.extra, f"{problem.wire_name} ({', '.join(missing)} cannot be found)")


_REFUSALS: tuple[tuple[str, str, str], ...] = (
    ("OutputDataConfig.KmsKeyId", "artifacts are not encrypted with keys here", "leave it out"),
    ("SecurityConfig.VolumeKmsKeyId", "scratch volumes are not encrypted with keys here", "leave it out"),
    ("SecurityConfig.VpcConfig", "jobs run on this machine, in no VPC", "leave it out"),
    ("AutoMLComputeConfig", "jobs run on this machine; there is no EMR Serverless to hand them to", "leave it out"),
)


def _refused_fields(request: Mapping[str, Json]) -> Iterator[Fault]:
    for path, problem, fix in _REFUSALS:
        if _value_at(request, path) is not None:
            yield Fault(where=path, problem=problem, fix=fix)
    if _value_at(request, "SecurityConfig.EnableInterContainerTrafficEncryption"):
        yield Fault(
            where="SecurityConfig.EnableInterContainerTrafficEncryption",
            found=True,
            problem="a job runs in one process here, there is no traffic to encrypt",
            fix="set it to false or leave it out",
        )


def _location_faults(house: House, principal: Principal, request: Mapping[str, Json]) -> Iterator[Fault]:
    role = roles.find_passable(house, principal, request["RoleArn"])
    if role is None:
        yield Fault(
            where="RoleArn",
            found=request["RoleArn"],
            problem="no such role, or it may not be passed by this access key",
            fix=_role_fix(house, principal),
        )
    places = None
    if role is not None:
        try:
            places = _Places(role=role, objects=house.objects_of(role))
        except SealBroken as error:
            fix = "ask an admin to make the role anew"
            yield Fault(where="RoleArn", found=role.arn, problem=f"cannot be used: {error}", fix=fix)
    for number, channel in enumerate(request["AutoMLJobInputDataConfig"]):
        if "DataSource" in channel:
            yield from _channel_faults(places, channel_path(number), source_of(channel))
        else:  # the service model lets it be absent
            where = f"AutoMLJobInputDataConfig[{number}].DataSource"
            yield Fault(where=where, problem="is missing", fix="name the channel's objects by its S3DataSource")
    output = request["OutputDataConfig"]["S3OutputPath"]
    yield from _uri_faults(places, "OutputDataConfig.S3OutputPath", output, "write")


def _role_fix(house: House, principal: Principal) -> str:
    default = names.role_arn(principal.account_id, names.DEFAULT_ROLE_NAME)
    if roles.find_passable(house, principal, default) is not None:
        return f"name {default}, or another role of your account; an admin sees them by `gyropilot roles list`"
    return f"ask an admin for a role of account {principal.account_id}, made by `gyropilot roles add`"


def source_of(channel: Mapping[str, Json]) -> S3Source:
    """Give where a channel of a request lies."""
    source = channel["DataSource"]["S3DataSource"]
    return S3Source(s3_data_type=source["S3DataType"], s3_uri=source["S3Uri"])


def _channel_faults(places: _Places | None, where: str, source: S3Source) -> Iterator[Fault]:
    faults = list(_uri_faults(places, where, source.s3_uri, "read"))
    yield from faults
    # Whether another kind than S3Prefix may be is the problem type's rule.
    if faults or places is None or source.s3_data_type != "S3Prefix":
        return
    try:
        channels.resolve(places.objects, source)
    except InvalidData as error:
        for fault in error.faults:
            yield replace(fault, where=where, found=fault.found or source.s3_uri)
    except (NotAllowed, OSError) as error:
        yield _store_fault(where, source.s3_uri, error)


def _uri_faults(places: _Places | None, where: str, uri: str, verb: Literal["read", "write"]) -> Iterator[Fault]:
    _, key = split_s3_uri(uri)
    if not is_s3_uri(uri):
        yield Fault(where=where, found=uri, problem="is not an s3 URI", fix="write s3://bucket/key")
    elif any(segment in {"..", "."} for segment in key.split("/")):
        yield Fault(where=where, found=uri, problem="has a segment . or ..", fix="name the key in full")
    elif places is not None:  # without a role there is no store to look into
        yield from _place_faults(places, where, uri, verb)


def _place_faults(places: _Places, where: str, uri: str, verb: Literal["read", "write"]) -> Iterator[Fault]:
    prefixes = places.role.read_prefixes if verb == "read" else places.role.write_prefixes
    if not any(is_under(uri, prefix) for prefix in prefixes):
        problem = f"lies outside what the role may {verb}: {', '.join(prefixes) or 'nothing'}"
        yield Fault(where=where, found=uri, problem=problem, fix="use another place or another role")
        return
    bucket, _ = split_s3_uri(uri)
    try:
        is_there = places.objects.bucket_exists(bucket)
    except (NotAllowed, OSError) as error:
        yield _store_fault(where, uri, error)
        return
    if not is_there:
        problem = f"there is no bucket {bucket!r}"
        yield Fault(where=where, found=uri, problem=problem, fix=f"create it: aws s3 mb s3://{bucket}")


def _store_fault(where: str, uri: str, error: Exception) -> Fault:
    return Fault(
        where=where,
        found=uri,
        problem=f"the role's object store cannot be used: {error}",
        fix="see that it runs and takes the role's keys; `gyropilot roles show` names it",
    )


def _value_at(request: Mapping[str, Json], path: str) -> Json:
    value: Json = request
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
