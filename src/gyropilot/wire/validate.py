"""Holds a request against its shape: gives the typed value, or every fault at once in the service's own wording.

    2 validation errors detected: Value '0' at 'maxResults' failed to satisfy constraint: Member must have value
    greater than or equal to 1; Value null at 'autoMLJobName' failed to satisfy constraint: Member must not be null

A value is named by its path as clients know it from the service: `autoMLJobInputDataConfig.1.member.dataSource`,
first letter of a member lower, items counted from 1.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from gyropilot.errors import InvalidShape
from gyropilot.wire.patterns import matches
from gyropilot.wire.service_model import Shape

Json = Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FAULTS_LISTED = 100
_SHOWN_CHARACTERS = 256
_ENUM_LISTED = 20
_BITS = {"integer": 32, "long": 64}
_KIND_IN_WORDS: Mapping[str, str] = {
    "structure": "a structure",
    "list": "a list",
    "map": "a map",
    "string": "a string",
    "integer": "a 32-bit integer",
    "long": "a 64-bit integer",
    "float": "a number",
    "double": "a number",
    "boolean": "true or false",
    "timestamp": "a timestamp in seconds since 1970",
    "blob": "bytes",
}


def validated(shape: Shape | None, request: dict[str, Json]) -> dict[str, Json]:
    """Give the request with timestamps as aware datetimes and without nulls, which mean absence.

    Args:
        shape: the operation's input; None: it takes none.
        request: the parsed body.

    Raises:
        InvalidShape: naming every value that does not fit.
    """
    faults = _Faults()
    if shape is None:
        for name, value in request.items():
            faults.add(value, name, "Member must not be set: the operation takes no input")
        typed: dict[str, Json] = {}
    else:
        typed = _structure(shape, request, "", faults)
    if faults.count:
        raise InvalidShape(faults.message())
    return typed


def broken_constraints(shape: Shape, value: Json) -> list[str]:
    """Give the constraints of a shape's own (not its members') that a value of the right kind breaks."""
    broken = []
    measure = len(value) if isinstance(value, (str, list, dict, bytes)) else value
    if shape.maximum is not None and measure > shape.maximum:
        broken.append(_maximum(shape))
    elif shape.pattern is not None and not matches(shape.pattern, value):
        # Not tried on overlong text: no time is spent where the answer stands.
        broken.append(_pattern(shape))
    if shape.minimum is not None and measure < shape.minimum:
        broken.append(_minimum(shape))
    if shape.enum and value not in shape.enum:
        broken.append(_enum(shape, value))
    return broken


@dataclass
class _Faults:
    """Collects faults; lists the first hundred, counts all."""

    texts: list[str] = field(default_factory=list)
    count: int = 0

    @property
    def is_full(self) -> bool:
        return len(self.texts) >= _FAULTS_LISTED

    def add(self, value: Json, path: str, constraint: str) -> None:
        self.count += 1
        if not self.is_full:
            shown = "null" if value is None else f"'{_shown(value)}'"
            self.texts.append(f"Value {shown} at '{_cut(path)}' failed to satisfy constraint: {constraint}")

    def message(self) -> str:
        plural = "" if self.count == 1 else "s"
        more = self.count - len(self.texts)
        tail = [f"and {more} more"] if more else []
        return f"{self.count} validation error{plural} detected: {'; '.join(self.texts + tail)}"


def _value(shape: Shape, value: Json, path: str, faults: _Faults) -> Json:
    if not _IS_OF_KIND[shape.kind](value):
        faults.add(_hidden(shape, value), path, f"Member must be {_KIND_IN_WORDS[shape.kind]}")
        return value
    if shape.kind == "structure":
        return _structure(shape, value, path, faults)
    for constraint in broken_constraints(shape, value):
        faults.add(_hidden(shape, value), path, constraint)
    if shape.kind == "list":
        return _list(shape, value, path, faults)
    if shape.kind == "map":
        return _map(shape, value, path, faults)
    return _EPOCH + timedelta(seconds=value) if shape.kind == "timestamp" else value


def _structure(shape: Shape, value: Mapping[str, Json], path: str, faults: _Faults) -> dict[str, Json]:
    given = {name: inner for name, inner in value.items() if inner is not None}
    for name in (name for name in given if name not in shape.members):
        # The nearest name is sought only for faults that are listed: a body may hold 100,000 unknown ones.
        faults.add(given[name], _below(path, name), "" if faults.is_full else _unknown(shape, name))
    if shape.is_union and len(given.keys() & shape.members.keys()) != 1:
        names = ", ".join(shape.members)
        faults.add(value, path, f"Member must have exactly one of these members set: [{names}]")
    typed: dict[str, Json] = {}
    for name, inner in shape.members.items():
        if name in given:
            typed[name] = _value(inner, given[name], _below(path, name), faults)
        elif name in shape.required:
            faults.add(None, _below(path, name), "Member must not be null")
    return typed


def _list(shape: Shape, value: list[Json], path: str, faults: _Faults) -> list[Json]:
    member = shape.parts["member"]
    if shape.maximum is not None and len(value) > shape.maximum:
        return value
    typed: list[Json] = []
    broken = False
    for number, item in enumerate(value, start=1):
        at = f"{path}.{number}.member"
        if item is None:
            faults.add(None, at, "Member must not be null")
        elif _is_scalar(member) and _IS_OF_KIND[member.kind](item):
            broken = broken or bool(broken_constraints(member, item))
            typed.append(item)
        else:
            typed.append(_value(member, item, at, faults))
    if broken:
        faults.add(_hidden(member, value), path, f"Member must satisfy constraint: [{_all_constraints(member)}]")
    return typed


def _map(shape: Shape, value: dict[str, Json], path: str, faults: _Faults) -> dict[str, Json]:
    key_shape, inner = shape.parts["key"], shape.parts["value"]
    if shape.maximum is not None and len(value) > shape.maximum:
        return value
    if any(broken_constraints(key_shape, key) for key in value):
        faults.add(value, path, f"Map keys must satisfy constraint: [{_all_constraints(key_shape)}]")
    typed: dict[str, Json] = {}
    broken = False
    for key, item in value.items():
        at = f"{path}.{key}.member"
        if item is None:
            faults.add(None, at, "Member must not be null")
        elif _is_scalar(inner) and _IS_OF_KIND[inner.kind](item):
            broken = broken or bool(broken_constraints(inner, item))
            typed[key] = item
        else:
            typed[key] = _value(inner, item, at, faults)
    if broken:
        faults.add(_hidden(inner, value), path, f"Map value must satisfy constraint: [{_all_constraints(inner)}]")
    return typed


def _all_constraints(shape: Shape) -> str:
    texts = []
    if shape.maximum is not None:
        texts.append(_maximum(shape))
    if shape.minimum is not None:
        texts.append(_minimum(shape))
    if shape.pattern is not None:
        texts.append(_pattern(shape))
    if shape.enum:
        texts.append(_enum(shape))
    return ", ".join(texts)


def _maximum(shape: Shape) -> str:
    return f"Member must have {_measured(shape)} less than or equal to {shape.maximum}"


def _minimum(shape: Shape) -> str:
    return f"Member must have {_measured(shape)} greater than or equal to {shape.minimum}"


def _pattern(shape: Shape) -> str:
    return f"Member must satisfy regular expression pattern: {shape.pattern}"


def _enum(shape: Shape, value: Json = None) -> str:
    """Say which values there are; of many, how many and which is nearest to the one that was given."""
    if len(shape.enum) > _ENUM_LISTED:
        # Only those that begin or end alike are compared: a request may have very many faults.
        text = value[:100] if isinstance(value, str) and not shape.is_sensitive else ""
        alike = [one for one in shape.enum if text and (one.startswith(text[:5]) or one.endswith(text))]
        near = difflib.get_close_matches(text, alike, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        return f"Member must satisfy enum value set: {shape.name}, which has {len(shape.enum)} values{hint}"
    return f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"


def _measured(shape: Shape) -> str:
    return "length" if shape.kind in ("string", "list", "map", "blob") else "value"


def _unknown(shape: Shape, name: str) -> str:
    nearest = difflib.get_close_matches(name[:100], shape.members, n=1)
    hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
    return f"Member must be known: {shape.name} has none of this name{hint}"


def _is_scalar(shape: Shape) -> bool:
    return shape.kind not in ("structure", "list", "map", "timestamp")


def _is_integer(value: Json, bits: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2 ** (bits - 1)) <= value < 2 ** (bits - 1)


def _is_number(value: Json) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_timestamp(value: Json) -> bool:
    if not _is_number(value):
        return False
    try:
        _EPOCH + timedelta(seconds=value)
    except OverflowError:
        return False
    return True


_IS_OF_KIND: Mapping[str, Callable[[Json], bool]] = {
    "structure": lambda value: isinstance(value, dict),
    "list": lambda value: isinstance(value, list),
    "map": lambda value: isinstance(value, dict),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: _is_integer(value, _BITS["integer"]),
    "long": lambda value: _is_integer(value, _BITS["long"]),
    "float": _is_number,
    "double": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "timestamp": _is_timestamp,
    "document": lambda _: True,
    "blob": lambda value: isinstance(value, bytes),
}


def _below(path: str, name: str) -> str:
    member = name[:1].lower() + name[1:]
    return f"{path}.{member}" if path else member


def _hidden(shape: Shape, value: Json) -> Json:
    return "*" * 8 if shape.is_sensitive else value


def _shown(value: Json) -> str:
    """Give a value as the service shows it: text bare, lists as [a, b], maps as {k=v}."""
    if isinstance(value, str):
        return _cut(value)
    if isinstance(value, list):
        return _cut(f"[{', '.join(_shown(item) for item in value[:_FAULTS_LISTED])}]")
    if isinstance(value, dict):
        some = list(value.items())[:_FAULTS_LISTED]
        return _cut(f"{{{', '.join(f'{_cut(key)}={_shown(item)}' for key, item in some)}}}")
    return f"{len(value)} bytes" if isinstance(value, bytes) else json.dumps(value)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
