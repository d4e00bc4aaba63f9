"""Operations on endpoint configurations: unpack the request, call the rule, pack the answer."""

from __future__ import annotations

from typing import Any

from gyropilot.control import endpoint_configs
from gyropilot.control.entrance import Caller
from gyropilot.control.house import House

Json = Any


def create_endpoint_config(house: House, caller: Caller, request: dict[str, Json]) -> dict[str, Json]:
    """Store which models an endpoint is to serve, and how."""
    arn = endpoint_configs.create(
        house, caller.principal, request, region=caller.region, invocation_id=caller.invocation_id
    )
    return {"EndpointConfigArn": arn}


def describe_endpoint_config(house: House, caller: Caller, request: dict[str, Json]) -> dict[str, Json]:
    """Describe an endpoint configuration."""
    return endpoint_configs.describe(house, caller.principal, caller.region, request["EndpointConfigName"])


def list_endpoint_configs(house: House, caller: Caller, request: dict[str, Json]) -> dict[str, Json]:
    """List the caller's endpoint configurations, a page at a time."""
    return endpoint_configs.list_configs(house, caller.principal, caller.region, request)


def delete_endpoint_config(house: House, caller: Caller, request: dict[str, Json]) -> None:
    """Remove an endpoint configuration's record."""
    endpoint_configs.delete(house, caller.principal, caller.region, request["EndpointConfigName"])
