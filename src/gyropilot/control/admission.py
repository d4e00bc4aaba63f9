"""What a create request must satisfy beyond its shape, before a job exists; all faults are gathered.

Rules of one problem type stand in its `request.py`; here are those that hold for every job.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gyropilot.control.house import House
from gyropilot.errors import Fault, InvalidRequest
from gyropilot.names import is_s3_uri, is_under, split_s3_uri
from gyropilot.problems.catalog import NOT_BUILT
from gyropilot.problems.contract import Problem, RequestContext, Spec
from gyropilot.store import roles
from gyropilot.store.principals import Principal

Json = Any


def admit(house: House, principal: Principal, request: Mapping[str, Json]) -> tuple[Problem, Spec]:
    """Give the request's problem and its spec.

    Raises:
        InvalidRequest: with every fault found in the request.
    """
    faults = [*_refused_fields(request), *_tag_faults(request), *_location_faults(house, principal, request)]
    problem, spec = _read(house, request, faults)
    if faults or problem is None or spec is None:
        raise InvalidRequest.of(faults)
    return problem, spec


def channel_path(number: int) -> str:
    """Give the path of a channel's S3Uri as the caller wrote it."""
    return f"AutoMLJobInputDataConfig[{number}].DataSource.S3DataSource.S3Uri"


def _read(house: House, request: Mapping[str, Json], faults: list[Fault]) -> tuple[Problem | None, Spec | None]:
    (wire_name,) = request["AutoMLProblemTypeConfig"]
    problem = next((one for one in house.problems if one.wire_name == wire_name), None)
    if problem is None:
        built = ", ".join(one.wire_name for one in house.problems)
        known = "is not built yet" if wire_name in NOT_BUILT else "is no problem type"
        where = f"AutoMLProblemTypeConfig.{wire_name}"
        faults.append(Fault(where=where, problem=f"this problem type {known}", fix=f"this service trains: {built}"))
        return None, None
    try:
        return problem, problem.read_request(request, RequestContext(base_models=house.base_models))
    except InvalidRequest as error:
        faults.extend(error.faults)
        return problem, None


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
        uri = _value_at(channel, "DataSource.S3DataSource.S3Uri") or ""
        prefixes = role.read_prefixes if role else ("s3://*",)
        fault = _uri_fault(house, channel_path(number), uri, prefixes, "read")
        yield from [fault] if fault else _missing_input(house, channel_path(number), uri, prefixes)
    output = request["OutputDataConfig"]["S3OutputPath"]
    prefixes = role.write_prefixes if role else ("s3://*",)
    fault = _uri_fault(house, "OutputDataConfig.S3OutputPath", output, prefixes, "write")
    if fault:
        yield fault


def _uri_fault(house: House, where: str, uri: str, prefixes: tuple[str, ...], verb: str) -> Fault | None:
    if not is_s3_uri(uri):
        return Fault(where=where, found=uri, problem="is not an s3 URI", fix="write s3://bucket/key")
    if any(segment in {"..", "."} for segment in split_s3_uri(uri)[1].split("/")):
        return Fault(where=where, found=uri, problem="has a segment . or ..", fix="name the key in full")
    if not any(is_under(uri, prefix) for prefix in prefixes):
        return Fault(
            where=where,
            found=uri,
            problem=f"lies outside what the role may {verb}: {', '.join(prefixes) or 'nothing'}",
            fix="use another place or another role",
        )
    bucket = split_s3_uri(uri)[0]
    if not house.objects.bucket_exists(bucket):
        return Fault(
            where=where, found=uri, problem=f"there is no bucket {bucket!r}", fix=f"create it: aws s3 mb s3://{bucket}"
        )
    return None


def _missing_input(house: House, where: str, uri: str, prefixes: tuple[str, ...]) -> Iterator[Fault]:
    first = next(readable_objects(house, uri, prefixes), None)
    if first is None:
        yield Fault(
            where=where, found=uri, problem="no object lies under this prefix", fix="upload the data, or mend the URI"
        )


def readable_objects(house: House, uri: str, prefixes: tuple[str, ...]) -> Iterator[Any]:
    """Give the non-empty-named objects under a prefix that the role's prefixes cover, in key order."""
    bucket, key = split_s3_uri(uri)
    covers: Callable[[str], bool] = lambda one: any(is_under(one, prefix) for prefix in prefixes)  # noqa: E731
    for info in house.objects.list(bucket, key):
        if not info.key.endswith("/") and covers(f"s3://{bucket}/{info.key}"):
            yield info


def _value_at(request: Mapping[str, Json], path: str) -> Json:
    value: Json = request
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
