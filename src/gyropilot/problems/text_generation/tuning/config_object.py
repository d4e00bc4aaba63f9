"""The JSON object that says what does not fit into TextGenerationHyperParameters: found by a tag, read at create."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence

from gyropilot.errors import Fault, InvalidRequest
from gyropilot.log import printable
from gyropilot.problems.contract import Json, ReadObject

TAG = "gyropilot:TuningConfig"
"""Key of the tag whose value is the object's s3 URI."""
WHERE = f"Tags[{TAG}]"
HOW = f"give it by its name in a JSON object in a bucket, whose s3 URI is the value of the tag {TAG}"
"""How a parameter is given that TextGenerationHyperParameters has no key for."""
MAX_BYTES = 64 * 1024
_SHOWN, _MOST_TOLD = 80, 20


def where(path: str) -> str:
    """Name a field of the object; by an empty path the object itself."""
    return f"{WHERE}.{path}" if path else WHERE


def read(tags: Sequence[Mapping[str, str]], read_object: ReadObject | None) -> Mapping[str, Json]:
    """Give the object that the tag names; an empty one where no tag does.

    Args:
        tags: of the request.
        read_object: gives the bytes of an object; None where there are no buckets to read from.

    Raises:
        InvalidRequest: it cannot be read, or is no JSON object.
    """
    uri = next((tag["Value"] for tag in tags if tag["Key"] == TAG), None)
    if uri is None:
        return {}
    if read_object is None:
        raise InvalidRequest(where=WHERE, found=uri, problem="cannot be read here", fix="leave the tag out")
    data = read_object(WHERE, uri, MAX_BYTES)
    return {} if data is None else parsed(data, uri)


def parsed(data: bytes, uri: str) -> dict[str, Json]:
    """Give the JSON object that the bytes are; no key may stand twice in it, and numbers must be finite.

    Raises:
        InvalidRequest: they are something else.
    """
    doubled: list[str] = []

    def once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
        counts = Counter(name for name, _ in pairs)
        doubled.extend(name for name, count in counts.items() if count > 1)
        return dict(pairs)

    try:
        values = json.loads(data.decode("utf-8-sig"), object_pairs_hook=once, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise _unread(uri, f"is not UTF-8 text (byte {error.start})") from error
    except (ValueError, RecursionError) as error:
        problem = "is nested too deeply" if isinstance(error, RecursionError) else f"is not JSON: {error}"
        raise _unread(uri, problem) from error
    if not isinstance(values, dict):
        raise _unread(uri, "is not a JSON object")
    if doubled:
        fix = "give each once"
        raise InvalidRequest.of(
            Fault(where=where(printable(name[:_SHOWN])), problem="stands more than once in one object", fix=fix)
            for name in doubled[:_MOST_TOLD]
        )
    return values


def _unread(uri: str, problem: str) -> InvalidRequest:
    fix = 'write an object such as {"verbalizer": "Complaint: {{input}} Label:"}'
    return InvalidRequest(where=WHERE, found=uri, problem=problem, fix=fix)


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is no number of JSON")
