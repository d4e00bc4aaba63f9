"""Operations on models: unpack the request, call the rule, pack the answer."""

from __future__ import annotations

from typing import Any

from gyropilot.control import models
from gyropilot.control.entrance import Caller
from gyropilot.control.house import House

Json = Any


def create_model(house: House, caller: Caller, request: dict[str, Json]) -> dict[str, Json]:
    """Store a model of containers of ours."""
    arn = models.create(house, caller.principal, request, region=caller.region, invocation_id=caller.invocation_id)
    return {"ModelArn": arn}


def describe_model(house: House, caller: Caller, request: dict[str, Json]) -> dict[str, Json]:
    """Describe a model."""
    return models.describe(house, caller.principal, caller.region, request["ModelName"])


def list_models(house: House, caller: Caller, request: dict[str, Json]) -> dict[str, Json]:
    """List the caller's models, a page at a time."""
    return models.list_models(house, caller.principal, caller.region, request)


def delete_model(house: House, caller: Caller, request: dict[str, Json]) -> None:
    """Remove a model's record."""
    models.delete(house, caller.principal, caller.region, request["ModelName"])
