"""The steps of a call, in the order they stand in `app.py`; each raises an error of ours or fills in the exchange.

The coroutines among them run on the event loop, before a call is read; the plain functions run after them, in a thread.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

from gyropilot.api.catalog import Catalog
from gyropilot.api.exchange import Exchange
from gyropilot.control import unknown_names
from gyropilot.control.entrance import BODY_SECONDS, Entrance
from gyropilot.control.house import House
from gyropilot.errors import InvalidShape, MalformedRequest, NotAllowed, NotAuthentic, RequestTooLarge, UnknownOperation
from gyropilot.wire import parse, validate
from gyropilot.wire.signature import SignedRequest

Json = Any


class ClientGone(Exception):
    """The client went away before its call was read; nobody waits for an answer."""


class Chain:
    """The steps, with the parts of the process that they use."""

    def __init__(self, house: House, catalog: Catalog, entrance: Entrance) -> None:
        self._house = house
        self._catalog = catalog
        self._entrance = entrance

    async def check_source(self, exchange: Exchange) -> None:
        """Refuse requests under a foreign name or from a foreign page, and header floods."""
        self._entrance.check_source(exchange.headers, exchange.scope.get("server"))

    async def answer_health(self, exchange: Exchange) -> None:
        """Say that the service lives; the only answer without a signature."""
        if exchange.path == "/health" and exchange.method in ("GET", "HEAD"):
            exchange.content_type = "application/json"
            exchange.answer = b'{"status":"ok"}'
            exchange.is_answered = True

    async def read_body(self, exchange: Exchange) -> None:
        """Read the body, which is small and comes soon."""
        stated = exchange.header("content-length") or "0"
        if not stated.isdigit() or int(stated[:20]) > parse.MAX_BODY_BYTES:
            raise RequestTooLarge(f"The body is longer than {parse.MAX_BODY_BYTES} bytes.")
        try:
            async with asyncio.timeout(BODY_SECONDS):
                exchange.body = await _received(exchange)
        except TimeoutError as error:
            exchange.is_cut_off = True
            raise MalformedRequest(f"The body did not arrive within {BODY_SECONDS:.0f} seconds.") from error

    def verify_signature(self, exchange: Exchange) -> None:
        """Prove who calls."""
        service = self._named_service(exchange)
        request = SignedRequest(
            method=exchange.method,
            path=exchange.path,
            query=exchange.query,
            headers=exchange.headers,
            body_sha256=hashlib.sha256(exchange.body).hexdigest(),
        )
        exchange.caller = self._entrance.prove(request, service)
        exchange.service = service

    def _named_service(self, exchange: Exchange) -> str:
        """Give the service that the signature has to prove: the one it names, if that is answered here."""
        answered = self._catalog.signing_names
        named = exchange.signed_service or answered[0]
        if named not in answered:
            others = answered if self._house.settings.s3_endpoint else (*answered, "s3")
            raise NotAuthentic(
                "wrong", f"The service {named} is not answered here; this address answers {', '.join(others)}."
            )
        return named

    def check_rate(self, exchange: Exchange) -> None:
        """Hold back who calls too often."""
        self._entrance.check_rate(exchange.caller)

    def name_operation(self, exchange: Exchange) -> None:
        """Find the operation that is called."""
        if exchange.method != "POST" or exchange.path != "/":
            raise UnknownOperation("Calls are made by POST to /.")
        if exchange.header("content-encoding") not in (None, "identity"):
            raise MalformedRequest("Bodies are not read in any Content-Encoding.")
        exchange.entry = exchange.protocol.find(self._catalog, exchange.service, exchange.first_headers, exchange.body)

    def authorise(self, exchange: Exchange) -> None:
        """Refuse what the caller may not do."""
        if not exchange.entry.is_allowed_to(exchange.caller.principal):
            kind, allowed = exchange.caller.principal.kind, " or ".join(exchange.entry.allowed_kinds)
            raise NotAllowed(
                f"The key {exchange.caller_name} is not authorized to perform {exchange.entry.action}: it is of kind"
                f" {kind}, and this takes a key of kind {allowed} (gyropilot keys create --kind)."
            )

    def parse(self, exchange: Exchange) -> None:
        """Read the body."""
        exchange.request = exchange.protocol.request(exchange.entry, exchange.body)

    def validate(self, exchange: Exchange) -> None:
        """Hold the request against its shape."""
        operation = exchange.entry.operation
        try:
            exchange.request = validate.validated(operation.input, exchange.request)
        except InvalidShape as error:
            mends = unknown_names.mends_of(self._house, operation.name, exchange.request)
            raise InvalidShape("; ".join([str(error), *mends])) from error

    def operate(self, exchange: Exchange) -> None:
        """Run the operation."""
        exchange.response = exchange.entry.function(self._house, exchange.caller, exchange.request)

    def respond(self, exchange: Exchange) -> None:
        """Write the response."""
        exchange.answer = exchange.protocol.answer(exchange.entry, exchange.response, exchange.request_id)
        exchange.content_type = exchange.protocol.content_type


async def _received(exchange: Exchange) -> bytes:
    body = bytearray()
    while True:
        message = await exchange.receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body += message.get("body", b"")
        if len(body) > parse.MAX_BODY_BYTES:
            raise RequestTooLarge(f"The body is longer than {parse.MAX_BODY_BYTES} bytes.")
        if not message.get("more_body", False):
            return bytes(body)
