"""The runtime door: one ASGI app for /endpoints/*, the operations of SageMaker Runtime; put into a process by `cli`.

request -> source -> claim of a signature, and its key -> body             on the event loop
        -> signature -> rate -> operation -> permission -> validate        in one thread, one hop a call
        -> endpoint and replicas from the database
        -> router -> replica -> answer, whole or part by part              on the event loop
any step raises -> wire/errors.py -> error response; in the midst of a stream, an exception in the stream
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from gyropilot.control import async_invocations
from gyropilot.control.house import House
from gyropilot.errors import Fault, InvalidRequest, MalformedRequest, NotAllowed, Unavailable
from gyropilot.serve.doors.knocks import App, Door, Knock, Shared
from gyropilot.serve.replicas.client import ReplicaCall
from gyropilot.serve.router import CUSTOM_ATTRIBUTES, INFERENCE_ID, StreamBroken, Target
from gyropilot.store import audit
from gyropilot.store.audit import AuditLine
from gyropilot.store.principals import Kind
from gyropilot.wire import claim, event_stream, rest
from gyropilot.wire.errors import wire_error
from gyropilot.wire.rest import RestService
from gyropilot.wire.service_model import Operation
from gyropilot.wire.signature import SignedRequest

Json = Any

PATH_PREFIX = "/endpoints/"
THREADS = 32
SIGNING_NAME = "sagemaker"
SMALL_BODY_BYTES = 2**16
"""A body of that size is read before its key is looked up, which spares the look a thread of its own."""

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
class _Knock(Knock):
    """A signed request, and what is known of it so far."""

    id_header = "x-amzn-requestid"

    body: bytes = b""
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


def make_app(house: House, shared: Shared | None = None) -> App:
    """Give the app that answers the runtime calls for a house; `shared` by default is this door's own."""
    return _Door(house, shared or Shared.of(house))


class _Door(Door[_Knock]):
    """The parts that all calls use."""

    def __init__(self, house: House, shared: Shared) -> None:
        super().__init__(house, shared, _Knock, threads=THREADS, name="runtime")
        self._service = RestService("sagemaker-runtime")

    async def _answer(self, knock: _Knock) -> None:
        self._entrance.check_source(knock.headers, knock.scope.get("server"))
        claimed = claim.read(knock.signed(None))  # before the body: what is not signed at all is not read
        length = knock.header("content-length") or "0"
        if not length.isdigit() or int(length[:20]) > SMALL_BODY_BYTES or knock.header("transfer-encoding"):
            await self._in_thread(self._entrance.check_claim, knock.signed(None), SIGNING_NAME)
        knock.body = await knock.room.read(knock.receive, length, claimed.access_key_id)
        target = await self._in_thread(self._admitted, knock)
        if knock.operation.name == "InvokeEndpointAsync":
            await self._accept(knock, target)
        else:
            work = self._invoke if knock.operation.name == "InvokeEndpoint" else self._stream
            await self._while_client_reads(knock, work(knock, target))

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
        response = await self._in_thread(
            async_invocations.accept, self._house, principal, target.endpoint, knock.members
        )
        await self._note(knock, "OK")
        written = rest.write_response(knock.operation, response)
        await knock.answer(written.status, written.headers, written.body)

    async def _invoke(self, knock: _Knock, target: Target) -> None:
        answer = await self._router.invoke(target, _call(knock), variant=knock.members.get("TargetVariant", ""))
        response = _told(knock, answer.content_type, answer.variant, answer.custom_attributes)
        written = rest.write_response(knock.operation, response | {"Body": answer.body})
        await knock.answer(written.status, written.headers, written.body)

    async def _stream(self, knock: _Knock, target: Target) -> None:
        variant = knock.members.get("TargetVariant", "")
        async with self._router.stream(target, _call(knock), variant=variant) as answer:
            response = _told(knock, answer.content_type, answer.variant, answer.custom_attributes)
            written = rest.write_response(knock.operation, response)
            await knock.begin(written.status, [*written.headers, ("content-type", event_stream.CONTENT_TYPE)])
            async for part in answer.parts:
                await knock.more(event_stream.event("PayloadPart", part))
            await knock.more(b"", is_last=True)

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
        await self._in_thread(audit.append, path, line)

    async def _answer_error(self, knock: _Knock, error: Exception) -> None:
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
            await knock.answer(told.status, headers, told.rest_body())
        elif isinstance(error, StreamBroken):
            members = {"Message": str(error), "ErrorCode": error.trouble}
            await knock.more(event_stream.exception("ModelStreamError", members), is_last=True)
        else:
            await knock.more(event_stream.exception("InternalStreamFailure", {"Message": told.message}), is_last=True)

    def _log(self, knock: _Knock, seconds: float) -> None:
        operation = knock.operation.name if hasattr(knock, "operation") else "-"
        told = (knock.request_id, operation, knock.endpoint_name, knock.access_key_id, knock.outcome, seconds * 1000)
        logger.info("%s %s %s %s %s %.0f ms", *told)


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
