"""How a call is written: JSON with a target header for sagemaker, forms and XML for sts (and iam, once it is here)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from gyropilot.api.catalog import Catalog, Entry
from gyropilot.errors import MalformedRequest, UnknownOperation
from gyropilot.wire import parse, query, respond
from gyropilot.wire.errors import WireError

Json = Any
JSON_TYPE = "application/x-amz-json-1.1"
TARGET_HEADER = "x-amz-target"
_JSON_SERVICES = (None, "sagemaker")
"""Signed services whose clients read JSON whatever they send; None is no signature at all."""


class WireProtocol(Protocol):
    """Reads one call's operation and request, and writes its answer."""

    content_type: str

    def find(self, catalog: Catalog, service: str, headers: Mapping[str, str], body: bytes) -> Entry:
        """Give the operation that a call signed for `service` names; `headers` are lower-case names."""

    def request(self, entry: Entry, body: bytes) -> dict[str, Json]:
        """Give the request in the body, not yet validated."""

    def answer(self, entry: Entry, response: dict[str, Json] | None, request_id: str) -> bytes:
        """Give a response's body."""

    def error(self, told: WireError, request_id: str) -> tuple[int, bytes]:
        """Give an error's status and body."""


class JsonProtocol:
    """JSON 1.1."""

    content_type = JSON_TYPE

    def find(self, catalog: Catalog, service: str, headers: Mapping[str, str], body: bytes) -> Entry:
        """Give the operation that the target header names."""
        if _media_type(headers) != JSON_TYPE:
            raise MalformedRequest(f"Content-Type must be {JSON_TYPE}.")
        return catalog.find(service, "json", headers.get(TARGET_HEADER, ""))

    def request(self, entry: Entry, body: bytes) -> dict[str, Json]:
        """Give the body's object."""
        return parse.read_body(body)

    def answer(self, entry: Entry, response: dict[str, Json] | None, request_id: str) -> bytes:
        """Give the response as JSON."""
        return respond.render(entry.operation.output, response)

    def error(self, told: WireError, request_id: str) -> tuple[int, bytes]:
        """Give the error as JSON."""
        return told.status, told.body()


class QueryProtocol:
    """A form with Action and Version, answered in XML whatever the call accepts."""

    content_type = query.CONTENT_TYPE

    def find(self, catalog: Catalog, service: str, headers: Mapping[str, str], body: bytes) -> Entry:
        """Give the operation that the form names."""
        if _media_type(headers) != query.FORM_TYPE:
            raise MalformedRequest(f"Content-Type must be {query.FORM_TYPE}.")
        form = query.read_form(body)
        entry = catalog.find(service, "query", f"{service}.{form.action}")
        if form.version != entry.model.api_version:
            raise UnknownOperation(f"The operation {form.action} is answered in version {entry.model.api_version}.")
        return entry

    def request(self, entry: Entry, body: bytes) -> dict[str, Json]:
        """Give the form's parameters as the operation's shape has them."""
        return query.request(entry.operation.input, query.read_form(body))

    def answer(self, entry: Entry, response: dict[str, Json] | None, request_id: str) -> bytes:
        """Give the response as XML."""
        return query.render(entry.operation, entry.model.xml_namespace, response, request_id)

    def error(self, told: WireError, request_id: str) -> tuple[int, bytes]:
        """Give the error as XML, under the code that clients of this protocol know."""
        in_query = told.in_query_protocol()
        return in_query.status, in_query.xml_body(request_id)


JSON = JsonProtocol()
QUERY = QueryProtocol()


def spoken(headers: Mapping[str, str], signed_service: str | None) -> WireProtocol:
    """Give the protocol that a caller understands, as far as a call whose signature is not proven tells.

    Args:
        headers: of the call.
        signed_service: the service that the signature names.
    """
    media_type = _media_type(headers)
    if media_type == query.FORM_TYPE:
        return QUERY
    return JSON if signed_service in _JSON_SERVICES or media_type.startswith("application/x-amz-json") else QUERY


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()
