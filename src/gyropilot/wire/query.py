"""The query protocol, which sts and iam speak: a form in, XML out; driven by the same shapes as the JSON protocol.

    Action=GetRole&Version=2010-05-08&RoleName=a --read_form--> Form --request--> {"RoleName": "a"}
    {"Role": {...}} --render--> <GetRoleResponse><GetRoleResult><Role>...</Role></GetRoleResult>...

A structure's member is written `Name.Inner`, a list's item `Name.member.1`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from gyropilot.errors import MalformedRequest
from gyropilot.wire import respond
from gyropilot.wire.parse import MAX_DEPTH
from gyropilot.wire.service_model import Operation, Shape

Json = Any

CONTENT_TYPE = "text/xml"
FORM_TYPE = "application/x-www-form-urlencoded"
MAX_PARAMETERS = 1000

_WHOLE = re.compile(r"-?[0-9]{1,19}")
_BOOLEANS: Mapping[str, bool] = {"true": True, "false": False}


@dataclass(frozen=True, kw_only=True)
class Form:
    """A call as its form states it; `parameters` are the rest, by their dotted names."""

    action: str
    version: str
    parameters: Mapping[str, str]


def read_form(body: bytes) -> Form:
    """Give the form in `body`.

    Raises:
        MalformedRequest: no UTF-8, no form, too many parameters, one that stands twice, or no Action or Version.
    """
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=MAX_PARAMETERS,
        )
    except ValueError as error:
        raise MalformedRequest(f"The body is not a form of at most {MAX_PARAMETERS} parameters in UTF-8.") from error
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        raise MalformedRequest("A parameter stands twice in the form.")
    if not {"Action", "Version"} <= parameters.keys():
        raise MalformedRequest("The form must have Action and Version.")
    return Form(action=parameters.pop("Action"), version=parameters.pop("Version"), parameters=parameters)


def request(shape: Shape | None, form: Form) -> dict[str, Json]:
    """Give the request that a form writes, to be validated like that of a JSON body.

    Raises:
        MalformedRequest: a name is nested too deeply, or stands for a value and for a structure.
    """
    tree: dict[str, Json] = {}
    for name, value in form.parameters.items():
        *path, last = name.split(".")
        if len(path) > MAX_DEPTH:
            raise MalformedRequest(f"A parameter is nested deeper than {MAX_DEPTH} levels.")
        at = tree
        for part in path:
            at = at.setdefault(part, {})
            if not isinstance(at, dict):
                break
        if not isinstance(at, dict) or last in at:
            raise MalformedRequest("A parameter stands both for a value and for a structure.")
        at[last] = value
    return tree if shape is None else {name: _typed(shape.members.get(name), inner) for name, inner in tree.items()}


def render(operation: Operation, namespace: str, response: dict[str, Json] | None, request_id: str) -> bytes:
    """Give the response as XML.

    Raises:
        ValueError: the response is not of the operation's shape. That is a fault of ours, never of the caller.
    """
    shape = operation.output
    inner = "" if shape is None else "".join(_members(shape, response or {}, shape.name))
    wrapper = operation.result_wrapper
    result = _element(wrapper, inner) if wrapper else inner
    told = _element("ResponseMetadata", _element("RequestId", escape(request_id)))
    name = f"{operation.name}Response"
    return f'<{name} xmlns="{escape(namespace)}">{result}{told}</{name}>'.encode()


def _typed(shape: Shape | None, value: Json) -> Json:
    """Give a part of the form as its shape has it; what does not fit stays as it came, for validation to tell."""
    if shape is None:
        return value
    if isinstance(value, dict):
        if shape.kind == "structure":
            return {name: _typed(shape.members.get(name), inner) for name, inner in value.items()}
        if shape.kind == "list" and value.keys() == {"member"} and isinstance(value["member"], dict):
            items = value["member"]
            if all(_WHOLE.fullmatch(place) for place in items):
                return [_typed(shape.parts["member"], items[place]) for place in sorted(items, key=int)]
        return value
    if shape.kind in ("integer", "long") and _WHOLE.fullmatch(value):
        return int(value)
    if shape.kind == "boolean":
        return _BOOLEANS.get(value, value)
    if shape.kind == "list" and value == "":  # how an empty list is written
        return []
    return value


def _members(shape: Shape, value: dict[str, Json], path: str) -> Iterator[str]:
    for name, inner in respond.checked_members(shape, value, path).items():
        yield _element(name, _text(shape.members[name], inner, f"{path}.{name}"))


def _text(shape: Shape, value: Json, path: str) -> str:
    respond.check_kind(shape, value, path)
    if shape.kind == "structure":
        return "".join(_members(shape, value, path))
    if shape.kind == "list":
        member = shape.parts["member"]
        return "".join(_element("member", _text(member, item, path)) for item in value)
    if shape.kind == "map":
        raise ValueError(f"{path} is a map, which no operation answered here gives")
    if shape.kind == "timestamp":
        return str(value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    if shape.kind == "boolean":
        return str(value).lower()
    return escape(str(value))


def _element(name: str, inner: str) -> str:
    return f"<{name}>{inner}</{name}>"
