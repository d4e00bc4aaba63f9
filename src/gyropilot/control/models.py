"""The rules of models, callable without HTTP: create, describe, list, delete; and the snapshot that is served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gyropilot import names
from gyropilot.control import container_chains, model_containers, named_listings, page_tokens, repeated_calls, tags
from gyropilot.control.container_chains import Link
from gyropilot.control.house import House
from gyropilot.control.places import open_places
from gyropilot.control.refusals import Refusal, faults_of
from gyropilot.errors import Fault, InvalidRequest, NotFound
from gyropilot.store import models
from gyropilot.store.models import ModelRecord
from gyropilot.store.named_rows import NewRow
from gyropilot.store.principals import Principal

Json = Any

_REFUSALS = (
    Refusal(path="VpcConfig", problem="models are served on this machine, in no VPC"),
    Refusal(
        path="InferenceExecutionConfig.Mode",
        problem="containers answer one after the other here, and none by itself",
        fix="make a model for each container",
        harmless=("Serial",),
    ),
)
_ECHOED = ("PrimaryContainer", "Containers", "InferenceExecutionConfig", "ExecutionRoleArn", "EnableNetworkIsolation")


def create(
    house: House, principal: Principal, request: Mapping[str, Json], *, region: str, invocation_id: str | None = None
) -> str:
    """Store a model and give its ARN.

    Raises:
        InvalidRequest: with every fault of the request.
        AlreadyExists: the name, in whatever letter case, is taken.
    """
    name = request["ModelName"]
    model = NewRow(
        account_id=principal.account_id, region=region, name=name, arn=_arn(principal.account_id, region, name)
    )
    containers = _admitted(house, principal, request)
    given = {tag["Key"]: tag["Value"] for tag in request.get("Tags", [])}
    call = repeated_calls.mark_of(principal, invocation_id, request)
    return models.create(house.db, model, request=request, containers=containers, tags=given, call=call).arn


def describe(house: House, principal: Principal, region: str, name: str) -> dict[str, Json]:
    """Give DescribeModelOutput.

    Raises:
        NotFound: the caller has no such model.
    """
    record = find(house, principal.account_id, region, name)
    echoed = {member: record.request[member] for member in _ECHOED if member in record.request}
    return echoed | {"ModelName": record.name, "ModelArn": record.arn, "CreationTime": record.created_at}


def list_models(house: House, principal: Principal, region: str, request: Mapping[str, Json]) -> dict[str, Json]:
    """Give ListModelsOutput."""
    page = models.page(house.db, named_listings.query_of(principal, region, request))
    listed = named_listings.summaries("Model", page.items)
    return {"Models": listed} | page_tokens.next_token(request, page.next_cursor)


def delete(house: House, principal: Principal, region: str, name: str) -> None:
    """Remove a model's record; its data and the endpoints that serve it stay.

    Raises:
        NotFound: the caller has no such model.
    """
    if not models.remove(house.db, principal.account_id, region, name):
        raise _missing(principal.account_id, region, name)


def snapshot(house: House, account_id: str, region: str, name: str) -> dict[str, Json]:
    """Give a model with all that it takes to serve it, as JSON values; it outlives the model's record.

    {name, arn, role_arn, problem, shares, containers: [{uri, sha256, size_bytes, image, environment}]}; `shares` is
    empty where the model may not live in a process with others.

    Raises:
        NotFound: the account has no model of exactly that name.
    """
    record = find(house, account_id, region, name)
    kept = ("uri", "sha256", "size_bytes", "image", "environment")
    return {
        "name": record.name,
        "arn": record.arn,
        "role_arn": record.request["ExecutionRoleArn"],
        "problem": record.containers[0]["problem"],
        # A chain of containers has a process of its own.
        "shares": record.containers[0]["shares"] if len(record.containers) == 1 else "",
        "containers": [{key: one[key] for key in kept} for one in record.containers],
    }


def find(house: House, account_id: str, region: str, name: str) -> ModelRecord:
    """Give an account's model of exactly that name.

    Raises:
        NotFound: there is none.
    """
    record = models.find(house.db, account_id, region, name)
    if record is None:
        raise _missing(account_id, region, name)
    return record


def _missing(account_id: str, region: str, name: str) -> NotFound:
    return NotFound(f'Could not find model "{_arn(account_id, region, name)}".')


def _arn(account_id: str, region: str, name: str) -> str:
    return names.arn(region=region, account_id=account_id, kind="model", name=name.lower())


def _admitted(house: House, principal: Principal, request: Mapping[str, Json]) -> list[dict[str, Json]]:
    """Give the containers as they are kept."""
    faults = [*faults_of(_REFUSALS, request, ""), *tags.faults_of(request.get("Tags", []))]
    places = None
    if "ExecutionRoleArn" in request:
        places, role_faults = open_places(house, principal, "ExecutionRoleArn", request["ExecutionRoleArn"])
        faults += role_faults
    else:
        fix = "name the role that may read the model data; `gyropilot env` prints yours"
        faults.append(Fault(where="ExecutionRoleArn", problem="is missing", fix=fix))
    given, given_faults = _given_containers(request)
    faults += [*given_faults, *model_containers.hostname_faults(given)]
    links: list[Link] = []
    for where, container in given:
        kept, container_faults = model_containers.admit(house, principal, places, where, container)
        links += [Link(where=where, kept=kept)] if kept else []
        faults += container_faults
    if len(links) == len(given):
        faults += container_chains.faults_of(house, principal.account_id, links)
    if faults:
        raise InvalidRequest.of(faults)
    return [dict(link.kept) for link in links]


def _given_containers(request: Mapping[str, Json]) -> tuple[list[tuple[str, Mapping[str, Json]]], list[Fault]]:
    """Give each container with what stands before the names of its members."""
    primary, several = request.get("PrimaryContainer"), request.get("Containers") or []
    if (primary is None) == (not several):
        problem = "stand both; a model has the one or the other" if several else "are both missing"
        fix = "give the container, or the list of containers, of a candidate"
        return [], [Fault(where="PrimaryContainer, Containers", problem=problem, fix=fix)]
    if primary is not None:
        return [("PrimaryContainer.", primary)], []
    return [(f"Containers[{number}].", one) for number, one in enumerate(several)], []
