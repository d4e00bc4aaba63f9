"""Reads a request body: JSON such as the protocol carries, and nothing that a lenient reader would guess at."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any, NoReturn

from gyropilot.errors import MalformedRequest, RequestTooLarge

Json = Any

MAX_BODY_BYTES = 1024 * 1024
MAX_DEPTH = 32

_INTEGER_DIGITS = 20


def read_body(body: bytes) -> dict[str, Json]:
    """Give the object in `body`; an empty body is an empty object, as clients send it for calls without input.

    Raises:
        RequestTooLarge: more than MAX_BODY_BYTES.
        MalformedRequest: not UTF-8, not JSON, no object, deeper than MAX_DEPTH, a number beyond 64 bits, NaN,
            a lone surrogate, or a key that stands twice.
    """
    if len(body) > MAX_BODY_BYTES:
        raise RequestTooLarge(f"The body is longer than {MAX_BODY_BYTES} bytes.")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedRequest(f"The body is not UTF-8: byte {error.start} begins no character.") from error
    value = _parsed(text) if text else {}
    _check_depth_and_text(value)
    if not isinstance(value, dict):
        raise MalformedRequest("The body must be a JSON object.")
    return value


def _parsed(text: str) -> Json:
    try:
        return json.loads(
            text, object_pairs_hook=_unique, parse_int=_integer, parse_float=_number, parse_constant=_refuse_constant
        )
    except json.JSONDecodeError as error:
        raise MalformedRequest(
            f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from error
    except RecursionError as error:
        raise MalformedRequest(f"The body is nested deeper than {MAX_DEPTH} levels.") from error


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise MalformedRequest(f"The key {twice[:100]!r} stands twice in one object.")
    return found


def _integer(digits: str) -> int:
    if len(digits) <= _INTEGER_DIGITS:
        value = int(digits)
        if -(2**63) <= value < 2**63:
            return value
    raise MalformedRequest(f"The number {digits[:40]} does not fit 64 bits.")


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise MalformedRequest(f"The number {text[:40]} does not fit 64 bits.")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedRequest(f"The body is not JSON: {name} is no JSON number.")


def _check_depth_and_text(value: Json) -> None:
    """Walk the value level by level: it may be nested deeper than Python's own stack."""
    level: list[Json] = [value]
    for _ in range(MAX_DEPTH + 1):
        for text in (one for one in level if isinstance(one, str)):
            _check_text(text)
        containers = [one for one in level if isinstance(one, (dict, list))]
        if not containers:
            return
        level = [inner for one in containers for inner in _inside(one)]
    raise MalformedRequest(f"The body is nested deeper than {MAX_DEPTH} levels.")


def _inside(value: dict[str, Json] | list[Json]) -> Iterator[Json]:
    yield from value
    if isinstance(value, dict):
        yield from value.values()


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise MalformedRequest("The body holds half of a surrogate pair, which is no character.") from error
