"""Operations on endpoints: unpack the request, call the rule, pack the answer."""

from __future__ import annotations

from typing import Any

from gyropilot.control import endpoints
from gyropilot.control.entrance import Caller
from gyropilot.control.house import House

Json = Any


def create_endpoint(house: House, caller: Caller, request: dict[str, Json]) -> dict[str, Json]:
    """Store an endpoint; its replicas are started as soon as there is room."""
    arn = endpoints.create(house, caller.principal, request, region=caller.region, invocation_id=caller.invocation_id)
    return {"EndpointArn": arn}


def describe_endpoint(house: House, caller: Caller, request: dict[str, Json]) -> dict[str, Json]:
    """Describe an endpoint."""
    return endpoints.describe(house, caller.principal, caller.region, request["EndpointName"])


def list_endpoints(house: House, caller: Caller, request: dict[str, Json]) -> dict[str, Json]:
    """List the caller's endpoints, a page at a time."""
    return endpoints.list_endpoints(house, caller.principal, caller.region, request)


def update_endpoint(house: House, caller: Caller, request: dict[str, Json]) -> dict[str, Json]:
    """Let an endpoint serve another configuration."""
    return {"EndpointArn": endpoints.update(house, caller.principal, caller.region, request)}


def update_endpoint_weights_and_capacities(house: House, caller: Caller, request: dict[str, Json]) -> dict[str, Json]:
    """Give an endpoint's variants other weights, or other numbers of replicas."""
    return {"EndpointArn": endpoints.update_weights_and_capacities(house, caller.principal, caller.region, request)}


def delete_endpoint(house: House, caller: Caller, request: dict[str, Json]) -> None:
    """Let an endpoint end."""
    endpoints.delete(house, caller.principal, caller.region, request["EndpointName"])
