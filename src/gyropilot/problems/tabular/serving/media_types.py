"""The content types that tabular containers read and write, and which of them answers a call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from gyropilot.errors import InvalidRequest
from gyropilot.problems.contract import Call

MediaType = Literal["text/csv", "application/json", "application/jsonlines"]
CSV: MediaType = "text/csv"
JSON: MediaType = "application/json"
LINES: MediaType = "application/jsonlines"

REPLY_TYPES: Mapping[str, MediaType] = {
    CSV: CSV,
    "application/csv": CSV,
    JSON: JSON,
    LINES: LINES,
    "application/x-jsonlines": LINES,
    "application/jsonl": LINES,
}
PAYLOAD_TYPES: Mapping[str, MediaType] = {"": CSV, "application/octet-stream": CSV, **REPLY_TYPES}
"""What may be said of a payload; botocore calls one octet-stream where the caller says nothing."""


def payload_type(call: Call) -> MediaType:
    """Give the content type of a call's payload.

    Raises:
        InvalidRequest: it is none that is read here.
    """
    found = PAYLOAD_TYPES.get(call.content_type)
    if found is None:
        fix = f"send rows as {CSV}, {JSON} or {LINES}"
        raise InvalidRequest(where="ContentType", found=call.content_type, problem="is not taken here", fix=fix)
    return found


def reply_type(call: Call, *, usual: MediaType) -> MediaType:
    """Give the content type that Accept asks for; `usual` where anything will do.

    Raises:
        InvalidRequest: it asks for none that is written here.
    """
    wanted = [one.partition(";")[0].strip().lower() for one in call.accept.split(",") if one.strip()]
    for one in wanted or ["*/*"]:
        if one in REPLY_TYPES:
            return REPLY_TYPES[one]
        for offered in (usual, CSV, JSON):
            if one == "*/*" or (one.endswith("/*") and offered.startswith(one[:-1])):
                return offered
    fix = f"ask for {CSV}, {JSON} or {LINES}"
    raise InvalidRequest(where="Accept", found=call.accept, problem="names nothing that is answered here", fix=fix)
