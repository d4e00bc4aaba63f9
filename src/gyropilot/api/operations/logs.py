"""Operations of logs: what jobs, endpoints and transforms printed, for readers of CloudWatch Logs."""

from __future__ import annotations

from typing import Any

from gyropilot.control import log_events
from gyropilot.control.entrance import Caller
from gyropilot.control.house import House

Json = Any


def describe_log_groups(house: House, caller: Caller, request: dict[str, Json]) -> dict[str, Json]:
    """List the groups of logs of the caller's account, a page at a time."""
    return log_events.groups(house, caller.principal, caller.region, request)


def describe_log_streams(house: House, caller: Caller, request: dict[str, Json]) -> dict[str, Json]:
    """List the logs of a group, a page at a time."""
    return log_events.streams(house, caller.principal, caller.region, request)


def get_log_events(house: House, caller: Caller, request: dict[str, Json]) -> dict[str, Json]:
    """Give lines of a log, from its end or its beginning, or from a token on."""
    return log_events.events(house, caller.principal, caller.region, request)


def filter_log_events(house: House, caller: Caller, request: dict[str, Json]) -> dict[str, Json]:
    """Search the lines of a group's logs."""
    return log_events.search(house, caller.principal, caller.region, request)
