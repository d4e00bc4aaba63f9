"""What a create request's names should be that the service does not know at all, told by the problem type it asks for.

The service's own sentence lists all values of all problem types; clients match on it, so this follows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gyropilot.control import v1_jobs
from gyropilot.control.house import House

Json = Any


def mends_of(house: House, operation: str, request: Mapping[str, Json]) -> list[str]:
    """Give a sentence for each unknown name in a request of any shape; none where the operation creates no job."""
    if operation == "CreateAutoMLJob":
        return [str(v1_jobs.of_v1(fault)) for fault in _faults(house, v1_jobs.named_in(request))]
    return [str(fault) for fault in _faults(house, request)] if operation == "CreateAutoMLJobV2" else []


def _faults(house: House, request: Mapping[str, Json]) -> list[Any]:
    config = request.get("AutoMLProblemTypeConfig")
    asked = config if isinstance(config, dict) else {}
    return [fault for one in house.problems if one.wire_name in asked for fault in one.unknown_names(request)]
