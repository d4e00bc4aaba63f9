"""Operations beyond the service's API that show what a job does: progress, events, log."""

from __future__ import annotations

from typing import Any

from gyropilot.control import automl_jobs
from gyropilot.control.entrance import Caller
from gyropilot.control.house import House

Json = Any


def describe_job_progress(house: House, caller: Caller, request: dict[str, Json]) -> dict[str, Json]:
    """Say how far a job is."""
    return automl_jobs.job_progress(house, caller.principal, caller.region, request["AutoMLJobName"])


def list_job_events(house: House, caller: Caller, request: dict[str, Json]) -> dict[str, Json]:
    """List what happened in a job, after a sequence number."""
    return automl_jobs.job_events(house, caller.principal, caller.region, request)


def get_job_log(house: House, caller: Caller, request: dict[str, Json]) -> dict[str, Json]:
    """Give a piece of a job's log."""
    return automl_jobs.job_log(house, caller.principal, caller.region, request)
