"""Operations on transform jobs: unpack the request, call the rule, pack the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gyropilot.control import transform_jobs, transform_listings
from gyropilot.control.entrance import Caller
from gyropilot.control.house import House

Json = Any


def create_transform_job(house: House, caller: Caller, request: Mapping[str, Json]) -> dict[str, Json]:
    """Store a batch transform; it is run as soon as there is room."""
    arn = transform_jobs.create(
        house, caller.principal, request, invocation_id=caller.invocation_id, region=caller.region
    )
    return {"TransformJobArn": arn}


def describe_transform_job(house: House, caller: Caller, request: Mapping[str, Json]) -> dict[str, Json]:
    """Describe a batch transform."""
    return transform_jobs.describe(house, caller.principal, caller.region, request["TransformJobName"])


def list_transform_jobs(house: House, caller: Caller, request: Mapping[str, Json]) -> dict[str, Json]:
    """List the caller's batch transforms, a page at a time."""
    return transform_listings.page(house, caller.principal, caller.region, request)


def stop_transform_job(house: House, caller: Caller, request: Mapping[str, Json]) -> None:
    """End a batch transform; none of its output is stored."""
    transform_jobs.stop(house, caller.principal, caller.region, request["TransformJobName"])
