"""Operations on AutoML jobs: unpack the request, call the rule, pack the answer."""

from __future__ import annotations

from typing import Any

from gyropilot.control import automl_jobs
from gyropilot.control.entrance import Caller
from gyropilot.control.house import House
from gyropilot.wire import types

Json = Any


def create_auto_ml_job_v2(
    house: House, caller: Caller, request: types.CreateAutoMLJobV2Request
) -> types.CreateAutoMLJobV2Response:
    """Store a job; it is run as soon as there is room."""
    arn = automl_jobs.create(house, caller.principal, request, invocation_id=caller.invocation_id, region=caller.region)
    return {"AutoMLJobArn": arn}


def describe_auto_ml_job_v2(house: House, caller: Caller, request: types.DescribeAutoMLJobV2Request) -> dict[str, Json]:
    """Describe a job."""
    return automl_jobs.describe(house, caller.principal, caller.region, request["AutoMLJobName"])


def list_auto_ml_jobs(house: House, caller: Caller, request: types.ListAutoMLJobsRequest) -> dict[str, Json]:
    """List the caller's jobs, a page at a time."""
    return automl_jobs.list_jobs(house, caller.principal, caller.region, request)


def list_candidates_for_auto_ml_job(
    house: House, caller: Caller, request: types.ListCandidatesForAutoMLJobRequest
) -> dict[str, Json]:
    """List the candidates of a job, a page at a time."""
    return automl_jobs.list_candidates(house, caller.principal, caller.region, request)


def stop_auto_ml_job(house: House, caller: Caller, request: types.StopAutoMLJobRequest) -> None:
    """Ask a job to end gracefully."""
    automl_jobs.stop(house, caller.principal, caller.region, request["AutoMLJobName"])
