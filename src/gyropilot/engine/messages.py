r"""The lines a child writes up its pipe, written and read; the reader takes the writer for hostile.

{"kind": "progress",  "body": {"phase", "done", "total", "unit", "values"}}
{"kind": "event",     "body": {"kind", "message", "detail"}}
{"kind": "heartbeat", "body": {"memory_bytes", "cpu_seconds"}}
{"kind": "result",    "body": ...}                                          at most one of these two,
{"kind": "failure",   "body": {"error", "message", "is_out_of_memory"}}     as the last line
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Literal, NoReturn

from gyropilot import errors
from gyropilot.engine.engine import Ending, Message
from gyropilot.log import printable

Json = Any
LARGEST_LINE = 256 * 1024
"""Bytes of a progress, event, heartbeat or failure line."""
LARGEST_RESULT = 16 * 1024 * 1024
"""Bytes of a result line."""
LONGEST_REASON = 1024
"""Characters of a failure's message: what FailureReason may hold."""
_LONGEST_TEXT = 4096
_MOST_VALUES = 64
_ERRORS = frozenset(
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.GyropilotError) and not name.startswith("_")
)


class OutOfProtocol(Exception):
    """A child wrote what no child of ours writes."""


def encode(kind: Literal["progress", "event", "heartbeat", "result", "failure"], body: Json) -> bytes:
    """Give a line.

    Raises:
        ValueError: the body is not JSON (a NaN is not), or too large.
    """
    try:
        line = json.dumps({"kind": kind, "body": body}, allow_nan=False, default=_plain).encode("ascii") + b"\n"
    except (TypeError, RecursionError) as error:
        raise ValueError(f"not JSON values: {error}") from error
    if len(line) > (LARGEST_RESULT if kind == "result" else LARGEST_LINE):
        raise ValueError(f"{len(line)} bytes are more than a {kind} may have")
    return line


def decode(line: bytes) -> Message | Ending:
    """Give the message, or the ending, that a line stands for.

    Raises:
        OutOfProtocol: it is no line that `encode` gives.
    """
    try:
        whole = json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise OutOfProtocol("a line is not JSON") from error
    if not isinstance(whole, dict) or whole.keys() != {"kind", "body"}:
        raise OutOfProtocol("a line is not a kind and a body")
    kind, body = whole["kind"], whole["body"]
    if kind != "result" and len(line) > LARGEST_LINE:
        raise OutOfProtocol("a line is too long")
    if kind == "result":
        return Ending(outcome="result", result=body)
    if kind == "failure":
        return _failure(_object(body, "error", "message", "is_out_of_memory"))
    if kind == "progress":
        return Message(kind="progress", body=_progress(_object(body, "phase", "done", "total", "unit", "values")))
    if kind == "event":
        return Message(kind="event", body=_event(_object(body, "kind", "message", "detail")))
    if kind == "heartbeat":
        body = _object(body, "memory_bytes", "cpu_seconds")
        return Message(kind="heartbeat", body={name: _number(value) for name, value in body.items()})
    raise OutOfProtocol("a line is of no known kind")


def finite(value: Json) -> Json:
    """Give JSON values with NaN and infinities as null, for what may be incomplete but must not be lost."""
    if isinstance(value, Mapping):
        return {str(name): finite(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def shortened(text: str, longest: int) -> str:
    """Give `text` in at most `longest` characters."""
    return text if len(text) <= longest else text[: longest - 3] + "..."


def _plain(value: object) -> Json:
    """Give numbers of array libraries and paths as JSON values."""
    if hasattr(value, "item") and callable(value.item):
        return value.item()
    if hasattr(value, "__fspath__"):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def _failure(body: dict[str, Json]) -> Ending:
    if not isinstance(body["is_out_of_memory"], bool):
        raise OutOfProtocol("a failure's memory mark is no boolean")
    error = _text(body["error"], 64)
    return Ending(
        outcome="failure",
        error=error if error in _ERRORS else "InternalFailure",
        message=shortened(_text(body["message"], LARGEST_LINE), LONGEST_REASON),
        is_out_of_memory=body["is_out_of_memory"],
    )


def _progress(body: dict[str, Json]) -> dict[str, Json]:
    values = body["values"]
    if not isinstance(values, dict) or len(values) > _MOST_VALUES:
        raise OutOfProtocol("progress values are no small object")
    return {
        "phase": _text(body["phase"], 64),
        "done": _number(body["done"]),
        "total": _number(body["total"]),
        "unit": _text(body["unit"], 64),
        "values": {_text(name, 64): _number(value) for name, value in values.items()},
    }


def _event(body: dict[str, Json]) -> dict[str, Json]:
    if not isinstance(body["detail"], dict):
        raise OutOfProtocol("an event's detail is no object")
    return {
        "kind": _text(body["kind"], 64),
        "message": _text(body["message"], _LONGEST_TEXT),
        "detail": body["detail"],
    }


def _object(body: Json, *names: str) -> dict[str, Json]:
    if not isinstance(body, dict) or body.keys() != set(names):
        raise OutOfProtocol(f"a body does not have exactly {', '.join(names)}")
    return body


def _text(value: Json, longest: int) -> str:
    if not isinstance(value, str) or len(value) > longest:
        raise OutOfProtocol("a text is missing or too long")
    return printable(value.encode("utf-8", "backslashreplace").decode("utf-8"))


def _number(value: Json) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e300:
        raise OutOfProtocol("a number is missing or out of range")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
