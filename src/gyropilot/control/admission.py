"""What a create request must satisfy beyond its shape, before a job exists; all faults are gathered.

Rules of one problem type stand in its `request.py`; here are those that hold for every job.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from gyropilot.control import deployments, request_surroundings, tags
from gyropilot.control.house import House
from gyropilot.control.places import Places, open_places, store_fault, uri_faults
from gyropilot.data import channels, headers
from gyropilot.data.frames import CSV
from gyropilot.engine import gpus
from gyropilot.errors import Fault, GyropilotError, InvalidData, InvalidRequest, MissingExtra, NotAllowed, NotFound
from gyropilot.names import split_s3_uri
from gyropilot.problems import catalog
from gyropilot.problems.contract import Problem, RequestContext, Spec
from gyropilot.store.object_info import ObjectInfo
from gyropilot.store.principals import Principal

Json = Any


def admit(house: House, principal: Principal, request: Mapping[str, Json], *, region: str) -> tuple[Problem, Spec]:
    """Give the request's problem and its spec.

    Raises:
        InvalidRequest: with every fault found in the request.
        MissingExtra: the problem's optional dependencies are not installed.
    """
    first_objects: dict[int, ObjectInfo] = {}
    faults = [
        *_refused_fields(request),
        *tags.faults_of(request.get("Tags", [])),
        *_location_faults(house, principal, request, first_objects),
        *deployments.faults_of(house, principal, region, request),
    ]
    problem, spec = _read(house, principal, request, first_objects, faults)
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


def _read(
    house: House,
    principal: Principal,
    request: Mapping[str, Json],
    first_objects: Mapping[int, ObjectInfo],
    faults: list[Fault],
) -> tuple[Problem | None, Spec | None]:
    try:
        problem = catalog.find(request, house.problems)
    except InvalidRequest as error:
        faults.extend(error.faults)
        return None, None
    _check_installed(problem)
    faults += request_surroundings.tag_faults(problem, request.get("Tags", []), house.problems)
    context = RequestContext(
        base_models=house.base_models,
        columns=partial(_columns, house, principal, request, first_objects, faults),
        source_prompts=house.settings.source_prompts,
        read_object=partial(request_surroundings.read_object, house, principal, request),
        cuda_devices=partial(gpus.cuda_devices, house.settings),
    )
    try:
        return problem, problem.read_request(request, context)
    except InvalidRequest as error:
        faults.extend(error.faults)
        return problem, None


def _columns(
    house: House,
    principal: Principal,
    request: Mapping[str, Json],
    first_objects: Mapping[int, ObjectInfo],
    faults: list[Fault],
    number: int,
) -> tuple[str, ...] | None:
    """Give the column names of a channel's first object, as far as they can be read; one that no job reads is told."""
    channel = request["AutoMLJobInputDataConfig"][number]
    places, _ = open_places(house, principal, "RoleArn", request["RoleArn"])
    if places is None or number not in first_objects:
        return None  # told as a fault of the place
    try:
        return headers.read_columns(
            places.objects,
            first_objects[number],
            content_type=channel.get("ContentType") or CSV,
            compression=channel.get("CompressionType") or "None",
        )
    except InvalidData as error:
        faults += [
            replace(one, where=channel_path(number), problem=f"{one.where}: {one.problem}") for one in error.faults
        ]
    except (GyropilotError, OSError):
        pass  # the job tells it
    return None


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


def _location_faults(
    house: House, principal: Principal, request: Mapping[str, Json], first_objects: dict[int, ObjectInfo]
) -> Iterator[Fault]:
    """Give the faults of what lies in buckets; `first_objects` gets the first object of each channel that has one."""
    places, faults = open_places(house, principal, "RoleArn", request["RoleArn"])
    yield from faults
    for number, channel in enumerate(request["AutoMLJobInputDataConfig"]):
        if "DataSource" in channel:
            found: list[ObjectInfo] = []
            yield from _channel_faults(places, channel_path(number), source_of(channel), found)
            if found:
                first_objects[number] = found[0]
        else:  # the service model lets it be absent
            where = f"AutoMLJobInputDataConfig[{number}].DataSource"
            yield Fault(where=where, problem="is missing", fix="name the channel's objects by its S3DataSource")
    for name, config in (request.get("AutoMLProblemTypeConfig") or {}).items():
        specification = (config or {}).get("FeatureSpecificationS3Uri")
        if specification is not None:
            where = f"AutoMLProblemTypeConfig.{name}.FeatureSpecificationS3Uri"
            yield from _object_faults(places, where, specification)
    output = request["OutputDataConfig"]["S3OutputPath"]
    yield from uri_faults(places, "OutputDataConfig.S3OutputPath", output, "write")


def source_of(channel: Mapping[str, Json]) -> S3Source:
    """Give where a channel of a request lies."""
    source = channel["DataSource"]["S3DataSource"]
    return S3Source(s3_data_type=source["S3DataType"], s3_uri=source["S3Uri"])


def _channel_faults(places: Places | None, where: str, source: S3Source, found: list[ObjectInfo]) -> Iterator[Fault]:
    """Give the faults of a channel's place; `found` gets its objects."""
    faults = list(uri_faults(places, where, source.s3_uri, "read"))
    yield from faults
    # Whether a kind may be is the problem type's rule.
    if faults or places is None or source.s3_data_type not in {"S3Prefix", "ManifestFile"}:
        return
    try:
        found += channels.resolve(places.objects, source)
    except InvalidData as error:
        for fault in error.faults:
            yield replace(fault, where=where, found=fault.found or source.s3_uri)
    except (NotAllowed, OSError) as error:
        yield store_fault(where, source.s3_uri, error)


def _object_faults(places: Places | None, where: str, uri: str) -> Iterator[Fault]:
    """Give the faults of the place of one object."""
    faults = list(uri_faults(places, where, uri, "read"))
    yield from faults
    if faults or places is None:
        return
    try:
        if places.objects.head(*split_s3_uri(uri)) is None:
            fix = "name the file itself, in full; keys are compared letter by letter"
            yield Fault(where=where, found=uri, problem="there is no such object", fix=fix)
    except (InvalidData, NotFound, NotAllowed, OSError) as error:
        yield store_fault(where, uri, error)


def _value_at(request: Mapping[str, Json], path: str) -> Json:
    value: Json = request
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
