"""Operations on training and processing jobs, which are the steps that candidates name."""

from __future__ import annotations

from typing import Any

from gyropilot.control import steps
from gyropilot.control.entrance import Caller
from gyropilot.control.house import House

Json = Any


def describe_training_job(house: House, caller: Caller, request: dict[str, Json]) -> dict[str, Json]:
    """Describe the training of a candidate."""
    return steps.describe_training(house, caller.principal, caller.region, request["TrainingJobName"])


def list_training_jobs(house: House, caller: Caller, request: dict[str, Json]) -> dict[str, Json]:
    """List the trainings of the caller's candidates, a page at a time."""
    return steps.page(house, caller.principal, caller.region, request, word="Training")


def describe_processing_job(house: House, caller: Caller, request: dict[str, Json]) -> dict[str, Json]:
    """Describe a step that looks at or prepares the data of candidates."""
    return steps.describe_processing(house, caller.principal, caller.region, request["ProcessingJobName"])


def list_processing_jobs(house: House, caller: Caller, request: dict[str, Json]) -> dict[str, Json]:
    """List the steps that look at or prepare data, a page at a time."""
    return steps.page(house, caller.principal, caller.region, request, word="Processing")
