"""REST messages: the requests and responses of services whose operations are told by method and path (rest-json).

    method, path --RestService.find--> Operation, labels
    labels, headers, body --read_request--> the members, validated, all faults at once
    the members of a response --write_response--> status, headers, body

Where each member travels (a label of the path, a header, the whole body) stands in the service model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

from gyropilot.errors import UnknownOperation
from gyropilot.wire import service_model, validate
from gyropilot.wire.service_model import Operation, RestServiceName, Shape

Json = Any
Headers = Sequence[tuple[str, str]]

MAX_BODY_BYTES = 25 * 2**20
"""Of the body of an InvokeEndpoint: the limit that the service states today, in place of its model's older 6 MiB."""

_OUTGROWN = {"BodyBlob": MAX_BODY_BYTES}
_LABEL = re.compile(r"\\\{(\w+)\\\}")
_JSON_TYPE = "application/json"
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,19}")
_VISIBLE = re.compile(r"[\x20-\x7e]*")


@dataclass(frozen=True, kw_only=True)
class RestAnswer:
    """A response as it goes over the wire."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class RestService:
    """The operations of one service, by method and path."""

    def __init__(self, service: RestServiceName, keep: Callable[[str], bool] = lambda _: True) -> None:
        model = service_model.load(service, keep)
        self.operations: Mapping[str, Operation] = {name: _grown(one) for name, one in model.operations.items()}
        self._routes = tuple((_route(one), one) for one in self.operations.values())

    def find(self, method: str, path: str) -> tuple[Operation, dict[str, str]]:
        """Give the operation of a method and raw path, and the labels in the path, decoded.

        Raises:
            UnknownOperation: there is none.
        """
        for route, operation in self._routes:
            found = route.fullmatch(f"{method} {path}")
            if found:
                return operation, {name: unquote(value) for name, value in found.groupdict().items()}
        known = ", ".join(f"{one.http.method} {one.http.path}" for _, one in self._routes if one.http)
        raise UnknownOperation(f"There is no operation {f'{method} {path}'[:100]!r}; there are {known}.")


def read_request(operation: Operation, labels: Mapping[str, str], headers: Headers, body: bytes) -> dict[str, Json]:
    """Give the members of a request; one that is not there is left out.

    Args:
        operation: of a RestService.
        labels: of the path.
        headers: names in lower case; of one that stands twice the values are joined, as they were signed.
        body: the whole body.

    Raises:
        InvalidShape: naming every member that does not fit.
    """
    shape = operation.input
    if shape is None:
        return validate.validated(None, {})
    given = _joined(headers)
    members: dict[str, Json] = {}
    for name, place in shape.places.items():
        text = labels.get(place.name) if place.kind == "uri" else given.get(place.name.lower())
        if text is not None:
            members[name] = _typed(shape.members[name], text)
    if shape.payload and (body or shape.payload in shape.required):
        members[shape.payload] = body
    return validate.validated(shape, members)


def write_response(operation: Operation, response: Mapping[str, Json]) -> RestAnswer:
    """Give the wire form of a response; members that are None are left out.

    Raises:
        ValueError: a member's text cannot be the value of a header.
    """
    shape = operation.output
    given = {name: value for name, value in response.items() if value is not None}
    if shape is None or given.keys() - shape.members.keys():
        raise ValueError(f"{operation.name} has no such members as {sorted(given)}")
    headers = [(place.name, _header(str(given[name]))) for name, place in shape.places.items() if name in given]
    if shape.payload:
        body = given.get(shape.payload, b"")
    else:
        inside = {name: value for name, value in given.items() if name not in shape.places}
        body, headers = json.dumps(inside).encode(), [*headers, ("Content-Type", _JSON_TYPE)]
    status = operation.http.status if operation.http else 200
    return RestAnswer(status=status, headers=tuple(headers), body=body)


def fits(shape: Shape, member: str, text: str) -> bool:
    """Say whether a text may be the value of a member, as for one that a model answered with."""
    return not validate.broken_constraints(shape.members[member], text) and _VISIBLE.fullmatch(text) is not None


def _grown(operation: Operation) -> Operation:
    if operation.input is None:
        return operation
    members = {
        name: replace(shape, maximum=_OUTGROWN.get(shape.name, shape.maximum))
        for name, shape in operation.input.members.items()
    }
    return replace(operation, input=replace(operation.input, members=members))


def _route(operation: Operation) -> re.Pattern[str]:
    if operation.http is None:
        raise ValueError(f"{operation.name} is no REST operation")
    return re.compile(_LABEL.sub(r"(?P<\1>[^/]+)", re.escape(f"{operation.http.method} {operation.http.path}")))


def _joined(headers: Headers) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in headers:
        joined[name] = f"{joined[name]},{value.strip()}" if name in joined else value.strip()
    return joined


def _typed(shape: Shape, text: str) -> Json:
    """Give a header's text as its shape has it; what is no number stays a text, which its shape refuses."""
    return int(text) if shape.kind in ("integer", "long") and _WHOLE_NUMBER.fullmatch(text) else text


def _header(text: str) -> str:
    if not _VISIBLE.fullmatch(text):
        raise ValueError(f"{text!r} cannot be the value of a header")
    return text
