"""Writes a response body by its shape: epoch timestamps, no nulls, and no member that the model does not know."""

from __future__ import annotations

import json
import math
from datetime import datetime
from typing import Any

from gyropilot.wire.service_model import Shape

Json = Any

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "boolean": (bool,),
    "timestamp": (datetime,),
    "structure": (dict,),
    "map": (dict,),
    "list": (list, tuple),
}


def render(shape: Shape | None, response: dict[str, Json] | None) -> bytes:
    """Give the response as JSON bytes; an operation without output has an empty body.

    Raises:
        ValueError: the response is not of this shape. That is a fault of ours, never of the caller.
    """
    if shape is None:
        if response:
            raise ValueError(f"a response of an operation without output holds {sorted(response)}")
        return b""
    value = _value(shape, response or {}, shape.name)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _value(shape: Shape, value: Json, path: str) -> Json:
    if shape.kind == "document":
        return _document(value)
    check_kind(shape, value, path)
    if shape.kind == "structure":
        members = checked_members(shape, value, path)
        return {name: _value(shape.members[name], inner, f"{path}.{name}") for name, inner in members.items()}
    if shape.kind == "list":
        member = shape.parts["member"]
        return [_value(member, item, f"{path}[{number}]") for number, item in enumerate(value)]
    if shape.kind == "map":
        inner = shape.parts["value"]
        return {key: _value(inner, item, f"{path}.{key}") for key, item in value.items() if item is not None}
    if shape.kind == "timestamp":
        return _seconds(value, path)
    return value


def check_kind(shape: Shape, value: Json, path: str) -> None:
    """Raise ValueError unless a value is of its shape's kind."""
    if not isinstance(value, _TYPES[shape.kind]) or (isinstance(value, bool) and shape.kind != "boolean"):
        raise ValueError(f"{path} must be of kind {shape.kind}, not {type(value).__name__}")


def checked_members(shape: Shape, value: dict[str, Json], path: str) -> dict[str, Json]:
    """Give what a structure holds, without nulls; raise ValueError unless those are members that may stand there."""
    given = {name: inner for name, inner in value.items() if inner is not None}
    unknown = given.keys() - shape.members.keys()
    missing = shape.required - given.keys()
    if unknown or missing:
        raise ValueError(f"{path} has unknown members {sorted(unknown)} and lacks {sorted(missing)}")
    if shape.is_union and len(given) != 1:
        raise ValueError(f"{path} must have exactly one member, not {sorted(given)}")
    return given


def _seconds(value: datetime, path: str) -> float:
    if value.tzinfo is None:
        raise ValueError(f"{path} is a time without a zone")
    return round(value.timestamp(), 3)


def _document(value: Json) -> Json:
    """Give free-form JSON, with numbers that JSON lacks as text: a loss of NaN is worth showing."""
    if isinstance(value, dict):
        return {str(key): _document(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_document(inner) for inner in value]
    if isinstance(value, datetime):
        return _seconds(value, "document")
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
