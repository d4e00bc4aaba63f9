"""The rules of asynchronous invocations: what is taken, and where its answer will lie; `serve` works them off."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from gyropilot.control.house import House
from gyropilot.control.places import reached_by, store_fault, uri_faults
from gyropilot.control.roles import find_passable
from gyropilot.errors import Fault, InvalidRequest, NotAllowed
from gyropilot.names import is_under, new_id, split_s3_uri
from gyropilot.store import async_invocations, roles
from gyropilot.store.endpoints import EndpointRecord
from gyropilot.store.principals import Principal
from gyropilot.wire.rest import MAX_BODY_BYTES

Json = Any

TTL_SECONDS = 6 * 3600
INVOCATION_SECONDS = 15 * 60


def accept(
    house: House, principal: Principal, endpoint: EndpointRecord, request: Mapping[str, Json]
) -> dict[str, Json]:
    """Store an invocation and give InvokeEndpointAsyncOutput; it is on disk when this returns.

    Args:
        house: the parts.
        principal: the caller.
        endpoint: which is invoked; its replicas need not be ready.
        request: InvokeEndpointAsyncInput, validated.

    Raises:
        InvalidRequest: with every fault of the request.
        Unavailable: too many wait already.
    """
    config = (endpoint.serving or endpoint.wanted).get("async")
    if config is None:
        raise InvalidRequest(
            where=f"Endpoint {endpoint.name}",
            problem="takes no asynchronous invocations: its configuration has no AsyncInferenceConfig",
            fix="call InvokeEndpoint, or update it to a configuration that has one",
        )
    if endpoint.status == "Failed" and endpoint.serving is None:
        raise InvalidRequest(
            where=f"Endpoint {endpoint.name}",
            problem=f"is Failed and will not answer: {endpoint.failure_reason or 'no reason is known'}",
            fix="delete it, mend what failed and create it anew",
        )
    faults = [*_input_faults(house, principal, endpoint, config["OutputConfig"], request), *_extension_faults(request)]
    if faults:
        raise InvalidRequest.of(faults)
    invocation_id = new_id()
    kept = _kept(endpoint, config["OutputConfig"], request, invocation_id)
    seconds = request.get("RequestTTLSeconds", TTL_SECONDS)
    async_invocations.add(house.db, invocation_id, endpoint.id, kept, ttl_seconds=seconds)
    answer = {
        "InferenceId": kept["inference_id"],
        "OutputLocation": kept["output_location"],
        "FailureLocation": kept["failure_location"],
    }
    return {name: value for name, value in answer.items() if value is not None}


def _input_faults(
    house: House,
    principal: Principal,
    endpoint: EndpointRecord,
    output: Mapping[str, Json],
    request: Mapping[str, Json],
) -> Iterator[Fault]:
    if ("Body" in request) == ("InputLocation" in request):
        problem = "exactly one of Body and InputLocation carries the payload"
        yield Fault(where="InputLocation", problem=problem, fix="name an object, or send up to 128,000 bytes as Body")
    elif "InputLocation" in request:
        yield from _location_faults(house, principal, endpoint, output["S3OutputPath"], request["InputLocation"])


def _location_faults(
    house: House, principal: Principal, endpoint: EndpointRecord, output_path: str, uri: str
) -> Iterator[Fault]:
    where, role_arn = "InputLocation", _role_arn(endpoint)
    role = roles.find(house.db, role_arn)
    if role is None:
        yield Fault(where=where, found=role_arn, problem="the role of the model was removed", fix="deploy it anew")
        return
    # The caller chooses what is read by the model's role: one who may not pass it reads what the endpoint's folder has.
    if not (find_passable(house, principal, role_arn) or is_under(uri, output_path)):
        problem = "lies outside the endpoint's S3OutputPath, and this key may not pass the role of the model"
        fix = f"name an object below {output_path}, or send up to 128,000 bytes as Body"
        yield Fault(where=where, found=uri, problem=problem, fix=fix)
        return
    places, faults = reached_by(house, role, where)
    faults += uri_faults(places, where, uri, "read")
    if places is None or faults:
        yield from faults
        return
    try:
        found = places.objects.head(*split_s3_uri(uri))
    except (NotAllowed, OSError) as error:
        yield store_fault(where, uri, error)
        return
    if found is None:
        yield Fault(where=where, found=uri, problem="there is no such object", fix="put it there first")
    elif found.size_bytes > MAX_BODY_BYTES:
        problem = f"has {found.size_bytes} bytes, more than the {MAX_BODY_BYTES} that a model is sent"
        yield Fault(where=where, found=uri, problem=problem, fix="split it, or run a transform job")


def _extension_faults(request: Mapping[str, Json]) -> Iterator[Fault]:
    extension = request.get("S3OutputPathExtension", "a")
    if {"", ".", ".."} & set(extension.strip("/").split("/")):
        problem = "has an empty segment, or one that is . or .."
        yield Fault(where="S3OutputPathExtension", found=extension, problem=problem, fix="write folder/folder")


def _kept(
    endpoint: EndpointRecord, output: Mapping[str, Json], request: Mapping[str, Json], invocation_id: str
) -> dict[str, Json]:
    inference_id = request.get("InferenceId", invocation_id)
    # Whatever the caller chooses, a name of the invocation's own id is in it: none takes the place of another object.
    extension = [part for part in (request.get("S3OutputPathExtension", "").strip("/"),) if part]
    answer = (invocation_id, request["Filename"]) if "Filename" in request else (f"{invocation_id}.out",)
    failures = output.get("S3FailurePath")
    return {
        "role_arn": _role_arn(endpoint),
        "account_id": endpoint.account_id,
        "region": endpoint.region,
        "endpoint_name": endpoint.name,
        "inference_id": inference_id,
        "content_type": request.get("ContentType", ""),
        "accept": request.get("Accept", ""),
        "custom_attributes": request.get("CustomAttributes", ""),
        "input_location": request.get("InputLocation"),
        "body": base64.b64encode(request["Body"]).decode() if "Body" in request else None,
        "output_location": _joined(output["S3OutputPath"], *extension, *answer),
        "failure_location": None if failures is None else _joined(failures, *extension, f"{invocation_id}-error.out"),
        "invocation_seconds": request.get("InvocationTimeoutSeconds", INVOCATION_SECONDS),
    }


def _role_arn(endpoint: EndpointRecord) -> str:
    """Give the role under which inputs are read and answers written: that of the first variant's model."""
    return str((endpoint.serving or endpoint.wanted)["variants"][0]["model"]["role_arn"])


def _joined(path: str, *names: str) -> str:
    return "/".join((path.rstrip("/"), *names))
