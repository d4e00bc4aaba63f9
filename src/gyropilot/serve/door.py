"""The runtime door: one ASGI app for /endpoints/*, the operations of SageMaker Runtime; put into a process by `cli`.

request -> source -> claim of a signature -> body                          on the event loop
        -> signature -> rate -> operation -> permission -> validate        in one thread, one hop a call
        -> endpoint and replicas from the database
        -> router -> replica -> answer, whole or part by part              on the event loop
any step raises -> wire/errors.py -> error response; in the midst of a stream, an exception in the stream
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, get_args

from gyropilot import clock
from gyropilot.control import async_invocations
from gyropilot.control.entrance import Caller, Entrance
from gyropilot.control.house import House
from gyropilot.errors import Fault, InvalidRequest, MalformedRequest, NotAllowed, Unavailable
from gyropilot.serve.call_bodies import BodyRoom, CallBodies, ClientGone
from gyropilot.serve.replica_client import ReplicaCall
from gyropilot.serve.router import CUSTOM_ATTRIBUTES, INFERENCE_ID, STREAM_SECONDS, Router, StreamBroken, Target
from gyropilot.serve.waiting import while_client_waits
from gyropilot.store import audit
from gyropilot.store.audit import AuditLine
from gyropilot.store.principals import Kind
from gyropilot.wire import claim, event_stream, rest
from gyropilot.wire.errors import wire_error
from gyropilot.wire.rest import RestAnswer, RestService
from gyropilot.wire.service_model import Operation
from gyropilot.wire.signature import SignedRequest

Json = Any
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PATH_PREFIX = "/endpoints/"
THREADS = 32
READING_SECONDS = 60.0
"""A client that needs so much longer than the model for its answer does not hold the replica any more."""
SIGNING_NAME = "sagemaker"

_KINDS: tuple[Kind, ...] = get_args(Kind)
"""Kinds of keys that may invoke: all there are, so that a new kind has to be thought about here."""
_CHANGING = frozenset({"InvokeEndpointAsync"})
"""The operations of which the audit log tells."""
_NOT_DONE: Mapping[str, str] = {
    "TargetModel": "endpoints of several models are not built here",
    "TargetContainerHostname": "containers are not invoked directly here, they answer one after the other",
    "EnableExplanations": "endpoints have no explainer here",
    "InferenceComponentName": "endpoints have no inference components here",
    "SessionId": "models keep no sessions here",
}

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class _Knock:
    """A request, and what is known of it so far."""

    scope: Scope
    receive: Receive
    send: Send
    headers: list[tuple[str, str]]
    """Names in lower case, values as Latin-1."""
    room: BodyRoom
    request_id: str
    body: bytes = b""
    status: int = 0
    error_code: str = ""
    is_begun: bool = False
    """Whether an answer has begun, after which no other can."""
    caller: Caller = field(init=False)
    operation: Operation = field(init=False)
    members: dict[str, Json] = field(init=False)

    def signed(self, body_sha256: str | None) -> SignedRequest:
        raw = self.scope.get("raw_path")
        return SignedRequest(
            method=self.scope["method"],
            path=self.scope["path"] if raw is None else raw.decode("latin-1"),
            query=self.scope.get("query_string", b"").decode("latin-1"),
            headers=self.headers,
            body_sha256=body_sha256,
        )

    @property
    def endpoint_name(self) -> str:
        return self.members["EndpointName"] if hasattr(self, "members") else "-"

    def header(self, name: str) -> str | None:
        return next((value for one, value in self.headers if one == name), None)


def make_app(house: House, entrance: Entrance | None = None, router: Router | None = None) -> App:
    """Give the app that answers the runtime calls for a house.

    Args:
        house: whose endpoints are invoked.
        entrance: what the doors of the process share; by default one of this door's own.
        router: shared with other doors of the same event loop; by default one of this door's own.
    """
    door = _Door(house, entrance or Entrance(house.credentials, house.settings), router or Router(house))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await door.answer(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await door.live(receive, send)

    return app


class _Door:
    """The parts that all calls use."""

    def __init__(self, house: House, entrance: Entrance, router: Router) -> None:
        self._house = house
        self._entrance = entrance
        self._router = router
        self._service = RestService("sagemaker-runtime")
        self._bodies = CallBodies()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="runtime")

    async def live(self, receive: Receive, send: Send) -> None:
        """Follow the server's life: at its end, connections to replicas are closed."""
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self._router.close()
                self._threads.shutdown(wait=False)
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started_at = clock.monotonic()
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        with self._bodies.room() as room:
            knock = _Knock(
                scope=scope, receive=receive, send=send, headers=headers, room=room, request_id=str(uuid.uuid4())
            )
            try:
                await self._answer(knock)
            except ClientGone:
                knock.error_code = "(the client went away)"
            except Exception as error:
                await self._answer_error(knock, error)
            _log(knock, seconds=clock.monotonic() - started_at)

    async def _answer(self, knock: _Knock) -> None:
        self._entrance.check_source(knock.headers, knock.scope.get("server"))
        claim.read(knock.signed(None))  # before the body: what is not signed at all is not read
        knock.body = await knock.room.read(knock.receive, knock.header("content-length") or "0")
        target = await asyncio.get_running_loop().run_in_executor(self._threads, self._admitted, knock)
        if knock.operation.name == "InvokeEndpointAsync":
            await self._accept(knock, target)
        else:
            work = self._invoke if knock.operation.name == "InvokeEndpoint" else self._stream
            await self._while_client_reads(knock, work(knock, target))

    async def _while_client_reads(self, knock: _Knock, work: Coroutine[Any, Any, None]) -> None:
        """Do the work, given up when the client goes away or leaves the answer unread for too long."""
        seconds = self._house.settings.invocation_seconds + STREAM_SECONDS + READING_SECONDS
        try:
            async with asyncio.timeout(seconds):
                await while_client_waits(knock.receive, work)
        except TimeoutError as error:
            raise ClientGone from error

    def _admitted(self, knock: _Knock) -> Target:
        """Hold a call against every rule, and give the endpoint that it is for."""
        signed = knock.signed(hashlib.sha256(knock.body).hexdigest())
        knock.caller = self._entrance.prove(signed, SIGNING_NAME)
        self._entrance.check_rate(knock.caller)
        knock.operation, labels = self._service.find(signed.method, signed.path)
        principal = knock.caller.principal
        if principal.kind not in _KINDS:
            raise NotAllowed(f"The key {principal.access_key_id} is not authorized to invoke endpoints.")
        if knock.header("content-encoding") not in (None, "identity"):
            raise MalformedRequest("Bodies are not read in any Content-Encoding.")
        knock.members = rest.read_request(knock.operation, labels, knock.headers, knock.body)
        _refuse_what_is_not_done(knock.members)
        return self._router.find(principal.account_id, knock.caller.region, knock.members["EndpointName"])

    async def _accept(self, knock: _Knock, target: Target) -> None:
        # Not given up when the client goes: what is stored by then is answered, whoever waits.
        principal = knock.caller.principal
        response = await asyncio.get_running_loop().run_in_executor(
            self._threads, async_invocations.accept, self._house, principal, target.endpoint, knock.members
        )
        await self._note(knock, "OK")
        await _send(knock, rest.write_response(knock.operation, response))

    async def _invoke(self, knock: _Knock, target: Target) -> None:
        answer = await self._router.invoke(target, _call(knock), variant=knock.members.get("TargetVariant", ""))
        response = _told(knock, answer.content_type, answer.variant, answer.custom_attributes)
        await _send(knock, rest.write_response(knock.operation, response | {"Body": answer.body}))

    async def _stream(self, knock: _Knock, target: Target) -> None:
        variant = knock.members.get("TargetVariant", "")
        async with self._router.stream(target, _call(knock), variant=variant) as answer:
            response = _told(knock, answer.content_type, answer.variant, answer.custom_attributes)
            written = rest.write_response(knock.operation, response)
            await _begin(knock, written.status, [*written.headers, ("content-type", event_stream.CONTENT_TYPE)])
            async for part in answer.parts:
                await _more(knock, event_stream.event("PayloadPart", part))
            await _more(knock, b"", is_last=True)

    async def _note(self, knock: _Knock, result: str) -> None:
        """Append what came of a call to the audit log, if its operation changes something.

        Raises:
            Unavailable: the line could not be written; the call must not be acknowledged.
        """
        if knock.is_begun or not hasattr(knock, "operation") or knock.operation.name not in _CHANGING:
            return
        line = AuditLine(
            principal=knock.caller.principal,
            action=f"{SIGNING_NAME}:{knock.operation.name}",
            resource=knock.endpoint_name,
            result=result,
            request_id=knock.request_id,
        )
        path = self._house.settings.audit
        await asyncio.get_running_loop().run_in_executor(self._threads, audit.append, path, line)

    async def _answer_error(self, knock: _Knock, error: Exception) -> None:
        """Make an error the answer, or the end of the stream; the one place where that is done."""
        operation = getattr(knock, "operation", self._service.operations["InvokeEndpoint"])
        told = wire_error(error, request_id=knock.request_id, modelled=operation.errors)
        try:
            await self._note(knock, told.code)
        except Unavailable as unnoted:
            error, told = unnoted, wire_error(unnoted, request_id=knock.request_id, modelled=operation.errors)
        knock.error_code = error.trouble if isinstance(error, StreamBroken) else told.code
        if isinstance(error, Unavailable):
            logger.warning("%s %s: %s (%s)", knock.request_id, operation.name, error, error.__cause__)
        elif told.status >= 500 and not isinstance(error, StreamBroken):
            logger.error("%s %s failed", knock.request_id, operation.name, exc_info=error)
        if not knock.is_begun:
            headers = (("content-type", "application/json"), ("x-amzn-errortype", told.code))
            await _send(knock, RestAnswer(status=told.status, headers=headers, body=told.rest_body()))
        elif isinstance(error, StreamBroken):
            members = {"Message": str(error), "ErrorCode": error.trouble}
            await _more(knock, event_stream.exception("ModelStreamError", members), is_last=True)
        else:
            await _more(knock, event_stream.exception("InternalStreamFailure", {"Message": told.message}), is_last=True)


def _call(knock: _Knock) -> ReplicaCall:
    members = knock.members
    passed_on = {CUSTOM_ATTRIBUTES: members.get("CustomAttributes", ""), INFERENCE_ID: members.get("InferenceId", "")}
    return ReplicaCall(
        body=knock.body,
        content_type=members.get("ContentType", ""),
        accept=members.get("Accept", ""),
        model_name=members["EndpointName"],
        more_headers={name: value for name, value in passed_on.items() if value},
    )


def _told(knock: _Knock, content_type: str, variant: str, custom_attributes: str | None) -> dict[str, Json]:
    """Give the members that stand in headers; what a model said and no header may carry is left out."""
    said = {"ContentType": content_type, "InvokedProductionVariant": variant, "CustomAttributes": custom_attributes}
    output = knock.operation.output
    return {name: text for name, text in said.items() if text and output and rest.fits(output, name, text)}


def _refuse_what_is_not_done(members: Mapping[str, Json]) -> None:
    faults = [
        Fault(where=name, found=members[name], problem=problem, fix="leave it out")
        for name, problem in _NOT_DONE.items()
        if name in members
    ]
    if faults:
        raise InvalidRequest.of(faults)


async def _send(knock: _Knock, answer: RestAnswer) -> None:
    await _begin(knock, answer.status, [*answer.headers, ("content-length", str(len(answer.body)))])
    await _more(knock, b"" if knock.scope["method"] == "HEAD" else answer.body, is_last=True)


async def _begin(knock: _Knock, status: int, headers: Sequence[tuple[str, str]]) -> None:
    knock.is_begun, knock.status = True, status
    own = [
        ("x-amzn-requestid", knock.request_id),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    ]
    if knock.room.is_unread:
        own.append(("connection", "close"))
    pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in (*headers, *own)]
    await knock.send({"type": "http.response.start", "status": status, "headers": pairs})


async def _more(knock: _Knock, body: bytes, *, is_last: bool = False) -> None:
    await knock.send({"type": "http.response.body", "body": body, "more_body": not is_last})


def _log(knock: _Knock, *, seconds: float) -> None:
    operation = knock.operation.name if hasattr(knock, "operation") else "-"
    caller = knock.caller.principal.access_key_id if hasattr(knock, "caller") else "-"
    outcome = f"{knock.status or '-'} {knock.error_code}".rstrip()
    logger.info(
        "%s %s %s %s %s %.0f ms", knock.request_id, operation, knock.endpoint_name, caller, outcome, seconds * 1000
    )
