"""What a create request must satisfy beyond its shape, before a job exists; all faults are gathered.

Rules of one problem type stand in its `request.py`; here are those that hold for every job.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gyropilot.control.house import House
from gyropilot.data import channels
from gyropilot.errors import Fault, InvalidData, InvalidRequest, MissingExtra
from gyropilot.names import is_s3_uri, is_under, split_s3_uri
from gyropilot.problems import catalog
from gyropilot.problems.contract import Problem, RequestContext, Spec
from gyropilot.store import roles
from gyropilot.store.objects import ObjectInfo
from gyropilot.store.principals import Principal

Json = Any

_EVERYWHERE = ("s3://*",)


def admit(house: House, principal: Principal, request: Mapping[str, Json]) -> tuple[Problem, Spec]:
    """Give the request's problem and its spec.

    Raises:
        InvalidRequest: with every fault found in the request.
        MissingExtra: the problem's optional dependencies are not installed.
    """
    faults = [*_refused_fields(request), *_tag_faults(request), *_location_faults(house, principal, request)]
    problem, spec = _read(house, request, faults)
    if faults or problem is None or spec is None:
        raise InvalidRequest.of(faults)
    return problem, spec


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


def _tag_faults(request: Mapping[str, Json]) -> Iterator[Fault]:
    keys = [tag["Key"] for tag in request.get("Tags", [])]
    for key in sorted({key for key in keys if keys.count(key) > 1}):
        yield Fault(where="Tags", found=key, problem="this key stands more than once", fix="give each key once")


def _location_faults(house: House, principal: Principal, request: Mapping[str, Json]) -> Iterator[Fault]:
    role = roles.find(house.db, request["RoleArn"])
    if role is None or not ({"*", principal.access_key_id} & set(role.passable_by)):
        yield Fault(
            where="RoleArn",
            found=request["RoleArn"],
            problem="no such role, or it may not be passed by this access key",
            fix="use the role that `gyropilot env` prints as GYROPILOT_ROLE_ARN",
        )
        role = None
    for number, channel in enumerate(request["AutoMLJobInputDataConfig"]):
        prefixes = role.read_prefixes if role else _EVERYWHERE
        yield from _channel_faults(house, channel_path(number), source_of(channel), prefixes)
    output = request["OutputDataConfig"]["S3OutputPath"]
    prefixes = role.write_prefixes if role else _EVERYWHERE
    yield from _uri_faults(house, "OutputDataConfig.S3OutputPath", output, prefixes, "write")


def source_of(channel: Mapping[str, Json]) -> S3Source:
    """Give where a channel of a request lies."""
    source = channel["DataSource"]["S3DataSource"]
    return S3Source(s3_data_type=source["S3DataType"], s3_uri=source["S3Uri"])


def readable_objects(house: House, source: S3Source, prefixes: tuple[str, ...]) -> list[ObjectInfo]:
    """Give a channel's objects in key order, of those only what the role's prefixes cover.

    Raises:
        InvalidData: there is none, or the channel cannot be listed.
    """
    found = [
        info
        for info in channels.resolve(house.objects, source)
        if any(is_under(f"s3://{info.bucket}/{info.key}", prefix) for prefix in prefixes)
    ]
    if not found:
        raise InvalidData(
            where=source.s3_uri, problem="holds no object that the role may read", fix="use another place or role"
        )
    return found


def _channel_faults(house: House, where: str, source: S3Source, prefixes: tuple[str, ...]) -> Iterator[Fault]:
    faults = list(_uri_faults(house, where, source.s3_uri, prefixes, "read"))
    yield from faults
    if faults or source.s3_data_type != "S3Prefix":  # whether another kind may be is the problem type's rule
        return
    try:
        readable_objects(house, source, prefixes)
    except InvalidData as error:
        for fault in error.faults:
            yield replace(fault, where=where, found=fault.found or source.s3_uri)


def _uri_faults(house: House, where: str, uri: str, prefixes: tuple[str, ...], verb: str) -> Iterator[Fault]:
    bucket, key = split_s3_uri(uri)
    if not is_s3_uri(uri):
        yield Fault(where=where, found=uri, problem="is not an s3 URI", fix="write s3://bucket/key")
    elif any(segment in {"..", "."} for segment in key.split("/")):
        yield Fault(where=where, found=uri, problem="has a segment . or ..", fix="name the key in full")
    elif not any(is_under(uri, prefix) for prefix in prefixes):
        covered = ", ".join(prefixes) or "nothing"
        problem = f"lies outside what the role may {verb}: {covered}"
        yield Fault(where=where, found=uri, problem=problem, fix="use another place or another role")
    elif not house.objects.bucket_exists(bucket):
        problem = f"there is no bucket {bucket!r}"
        yield Fault(where=where, found=uri, problem=problem, fix=f"create it: aws s3 mb s3://{bucket}")


def _value_at(request: Mapping[str, Json], path: str) -> Json:
    value: Json = request
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
