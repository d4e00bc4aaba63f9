"""Operations of the first version of the API on AutoML jobs."""

from __future__ import annotations

from typing import Any

from gyropilot.control import v1_jobs
from gyropilot.control.entrance import Caller
from gyropilot.control.house import House
from gyropilot.wire import types

Json = Any


def create_auto_ml_job(
    house: House, caller: Caller, request: types.CreateAutoMLJobRequest
) -> types.CreateAutoMLJobResponse:
    """Store a job on tables; it is run as soon as there is room."""
    arn = v1_jobs.create(house, caller.principal, request, invocation_id=caller.invocation_id, region=caller.region)
    return {"AutoMLJobArn": arn}


def describe_auto_ml_job(house: House, caller: Caller, request: types.DescribeAutoMLJobRequest) -> dict[str, Json]:
    """Describe a job that CreateAutoMLJob made."""
    return v1_jobs.describe(house, caller.principal, caller.region, request["AutoMLJobName"])
