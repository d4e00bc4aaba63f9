"""The rules of transform jobs, callable without HTTP: create, describe, stop; transform_listings.py lists them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gyropilot import names
from gyropilot.control import models, steps, tags, transform_listings, transform_plans
from gyropilot.control.house import House
from gyropilot.control.places import Places, open_places, store_fault, uri_faults
from gyropilot.control.repeated_calls import mark_of
from gyropilot.data import manifests, transform_inputs
from gyropilot.errors import Fault, InvalidData, InvalidRequest, NotAllowed, NotFound
from gyropilot.store import transform_jobs
from gyropilot.store.named_rows import NewRow
from gyropilot.store.principals import Principal
from gyropilot.store.statuses import is_terminal
from gyropilot.store.transform_jobs import TransformJobRecord

Json = Any

_ECHOED = (
    "ModelName",
    "MaxConcurrentTransforms",
    "ModelClientConfig",
    "MaxPayloadInMB",
    "BatchStrategy",
    "Environment",
    "TransformInput",
    "TransformOutput",
    "TransformResources",
    "DataProcessing",
)
_DEFAULTS: Mapping[str, Mapping[str, str]] = {
    "TransformInput": {"CompressionType": "None", "SplitType": "None"},
    "TransformOutput": {"AssembleWith": "None"},
    "DataProcessing": {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None"},
}
"""What stands in a description where the request says nothing."""


def create(
    house: House, principal: Principal, request: Mapping[str, Json], *, invocation_id: str | None, region: str
) -> str:
    """Store a job and give its ARN; when this returns the job survives any crash.

    Raises:
        InvalidRequest: with every fault of the request.
        AlreadyExists: the name, in whatever letter case, is taken.
        LimitExceeded: as many of the account's jobs as may be wait or run.
    """
    name = request["TransformJobName"]
    call = mark_of(principal, invocation_id, request)
    taken = transform_jobs.find(house.db, principal.account_id, region, name)
    if taken is not None:
        return transform_jobs.first_of_a_repeated_call(taken, call).arn
    arn = names.arn(region=region, account_id=principal.account_id, kind="transform-job", name=name.lower())
    return transform_jobs.create(
        house.db,
        NewRow(account_id=principal.account_id, region=region, name=name, arn=arn),
        principal=principal.access_key_id,
        request=request,
        model=_admitted(house, principal, region, request),
        tags={tag["Key"]: tag["Value"] for tag in request.get("Tags", [])},
        most_open=house.settings.open_jobs_per_account,
        call=call,
    ).arn


def describe(house: House, principal: Principal, region: str, name: str) -> dict[str, Json]:
    """Give DescribeTransformJobResponse: the request as it came, with the defaults that the service tells.

    Raises:
        NotFound: the caller has no such job.
    """
    record = transform_jobs.find(house.db, principal.account_id, region, name)
    if record is None:
        return _step(house, principal, region, name)
    described = {one: record.request[one] for one in _ECHOED if one in record.request}
    described |= {one: {**defaults, **described.get(one, {})} for one, defaults in _DEFAULTS.items()}
    times = {"TransformStartTime": record.started_at, "TransformEndTime": record.ended_at}
    described |= transform_listings.job_summary(record) | {one: at for one, at in times.items() if at is not None}
    return {one: value for one, value in described.items() if one != "LastModifiedTime"}


def stop(house: House, principal: Principal, region: str, name: str) -> None:
    """Ask a job to end; none of its output is stored. One that is stopping already stays as it is.

    Raises:
        NotFound: the caller has no such job.
        InvalidRequest: the job has ended; the service refuses this too, and its SDK counts on it.
    """
    before = transform_jobs.request_stop(house.db, principal.account_id, region, name)
    if before is None:
        raise _missing(name)
    if is_terminal(before.status):
        raise InvalidRequest(
            where="TransformJobName",
            found=before.name,
            problem=f"the transform job is in status {before.status} and cannot be stopped",
            fix="nothing is to be done",
        )


def find(house: House, principal: Principal, region: str, name: str) -> TransformJobRecord:
    """Give the caller's job of this name.

    Raises:
        NotFound: the caller has no such job.
    """
    record = transform_jobs.find(house.db, principal.account_id, region, name)
    if record is None:
        raise _missing(name)
    return record


def _admitted(house: House, principal: Principal, region: str, request: Mapping[str, Json]) -> dict[str, Json]:
    """Give the model's snapshot.

    Raises:
        InvalidRequest: with every fault of the request.
    """
    faults = list(tags.faults_of(request.get("Tags", [])))
    try:
        transform_plans.read(request)
    except InvalidRequest as error:
        faults.extend(error.faults)
    model: dict[str, Json] | None = None
    places: Places | None = None
    try:
        model = models.snapshot(house, principal.account_id, region, request["ModelName"])
        # The caller chooses what is read and written by the model's role: he must be one who may pass it.
        places, more = open_places(house, principal, "ModelName: its ExecutionRoleArn", model["role_arn"])
        faults.extend(more)
    except NotFound as error:
        fix = "`aws sagemaker list-models` shows what there is"
        faults.append(Fault(where="ModelName", problem=str(error).rstrip("."), fix=fix))
    faults.extend(_place_faults(places, request))
    if model is not None:
        faults.extend(_content_type_faults(house, str(model["problem"]), request))
        faults.extend(_environment_faults(model["containers"], request))
    if faults or model is None:
        raise InvalidRequest.of(faults)
    return model


def _content_type_faults(house: House, problem: str, request: Mapping[str, Json]) -> Iterator[Fault]:
    """Give the fault of a content type that no model of this problem reads."""
    takes = next((one.takes for one in house.problems if one.config_name == problem), ())
    given = request["TransformInput"].get("ContentType", "")
    if takes and given and given.partition(";")[0].strip().lower() not in takes:
        yield Fault(
            where="TransformInput.ContentType",
            found=given,
            problem=f"models of {problem} do not read it",
            fix=f"send {' or '.join(takes)}",
        )


def _environment_faults(containers: Sequence[Json], request: Mapping[str, Json]) -> Iterator[Fault]:
    """Give the fault of an environment that cannot say which container of a chain it is for."""
    given = request.get("Environment")
    if given and len(containers) > 1:
        yield Fault(
            where="Environment",
            found=", ".join(given),
            problem=f"cannot be for one of the {len(containers)} containers of this model, and they differ in what they"
            " read",
            fix="make a model whose Containers have it in their own Environment, and leave it out here",
        )


def _place_faults(places: Places | None, request: Mapping[str, Json]) -> Iterator[Fault]:
    source = transform_plans.source_of(request)
    where = "TransformInput.DataSource.S3DataSource.S3Uri"
    found = list(uri_faults(places, where, source.s3_uri, "read"))
    yield from found
    output = request["TransformOutput"]["S3OutputPath"]
    yield from uri_faults(places, "TransformOutput.S3OutputPath", output, "write")
    if found or places is None:
        return
    try:
        if source.s3_data_type == "S3Prefix":
            transform_inputs.resolve(places.objects, source)
        elif source.s3_data_type == "ManifestFile":  # whether all that it names is there is seen when the job begins
            prefix, _ = manifests.read(places.objects, source.s3_uri)
            yield from uri_faults(places, where, prefix, "read")
    except InvalidData as error:
        for fault in error.faults:
            yield replace(fault, where=where, found=fault.found or source.s3_uri)
    except (NotAllowed, OSError) as error:
        yield store_fault(where, source.s3_uri, error)


def _step(house: House, principal: Principal, region: str, name: str) -> dict[str, Json]:
    """Describe the step of a candidate that bears the name."""
    try:
        return steps.describe_transform(house, principal, region, name)
    except NotFound:
        raise _missing(name) from None


def _missing(name: str) -> NotFound:
    return NotFound(f"There is no transform job named {name!r}; `gyropilot transforms list` shows what there is.")
