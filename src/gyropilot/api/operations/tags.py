"""Operations on the tags of resources, which are named by their ARN."""

from __future__ import annotations

from typing import Any

from gyropilot.control import tags
from gyropilot.control.entrance import Caller
from gyropilot.control.house import House
from gyropilot.wire import types

Json = Any


def add_tags(house: House, caller: Caller, request: types.AddTagsInput) -> dict[str, Json]:
    """Add tags to a resource, or give those it bears new values."""
    return tags.add(house, caller.principal, caller.region, request)


def list_tags(house: House, caller: Caller, request: types.ListTagsInput) -> dict[str, Json]:
    """List the tags of a resource."""
    return tags.list_tags(house, caller.principal, caller.region, request)


def delete_tags(house: House, caller: Caller, request: types.DeleteTagsInput) -> dict[str, Json]:
    """Take tags off a resource."""
    return tags.delete(house, caller.principal, caller.region, request)
