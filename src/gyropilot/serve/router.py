"""Finds a replica for a call on an endpoint and brings its answer; used by the doors and by asynchronous invocations.

find      endpoint and replicas, as the store has them           blocking: asked in a thread
choose    a variant by weight, or the one that is asked for; of its Ready replicas the one with the fewest calls
ask       another one, once, where the first takes no call;      on the event loop
          every other trouble becomes an error of ours
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

from gyropilot import clock
from gyropilot.control.house import House
from gyropilot.errors import GyropilotError, InvalidRequest, ModelFailed, ModelNotReady, NotFound, Unavailable
from gyropilot.serve.replicas.client import (
    AnswerTooLong,
    Grow,
    ReplicaBroke,
    ReplicaCall,
    ReplicaClient,
    ReplicaStream,
    ReplicaUnreachable,
)
from gyropilot.store import routes
from gyropilot.store.endpoints import EndpointRecord
from gyropilot.store.replicas import ReplicaRecord

Json = Any
StreamTrouble = Literal["ModelInvocationTimeExceeded", "StreamBroken"]

STREAM_SECONDS = 8 * 60.0
"""A stream may take this long altogether; between its parts, as long as a whole answer may."""
CUSTOM_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
"""The header in which attributes go to the model and come back."""
INFERENCE_ID = "x-amzn-sagemaker-inference-id"

_NOT_TAKEN = {404, 503}
"""Statuses by which a replica says that it has not the model (yet, or any more), or no room for the call."""
_SHOWN_CHARACTERS = 1000

logger = logging.getLogger(__name__)


class StreamBroken(GyropilotError):
    """An answer broke off after its beginning; `trouble` is the code that clients know."""

    def __init__(self, trouble: StreamTrouble, message: str) -> None:
        self.trouble = trouble
        super().__init__(message)


@dataclass(frozen=True, kw_only=True)
class Target:
    """An endpoint and its replicas at one moment."""

    endpoint: EndpointRecord
    replicas: tuple[ReplicaRecord, ...]

    @property
    def variants(self) -> Sequence[Mapping[str, Json]]:
        """The variants that are served; empty before the endpoint is in service."""
        return tuple((self.endpoint.serving or {}).get("variants", ()))


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A model's whole answer."""

    body: bytes
    content_type: str
    variant: str
    custom_attributes: str | None


@dataclass(frozen=True, kw_only=True)
class StreamedAnswer:
    """A model's answer part by part; `parts` raises StreamBroken where it breaks off."""

    content_type: str
    variant: str
    custom_attributes: str | None
    parts: AsyncIterator[bytes]


class Router:
    """Brings calls to replicas; belongs to one event loop, whose doors share one, so that it knows who is busy."""

    def __init__(self, house: House, draw: random.Random | None = None) -> None:
        self._db = house.db
        self._seconds = house.settings.invocation_seconds
        self._draw = draw or random.Random()
        self._clients: dict[str, ReplicaClient] = {}
        self._running: Counter[str] = Counter()

    def find(self, account_id: str, region: str, name: str) -> Target:
        """Give an endpoint of exactly that name, with its replicas.

        Raises:
            NotFound: the account has none of that name there.
        """
        found = routes.find(self._db, account_id, region, name)
        if found is None or found.endpoint.status == "Deleting":
            raise NotFound(f"Endpoint {name} of account {account_id} not found.")
        return Target(endpoint=found.endpoint, replicas=found.replicas)

    async def invoke(
        self,
        target: Target,
        call: ReplicaCall,
        *,
        variant: str = "",
        seconds: float | None = None,
        grow: Grow | None = None,
    ) -> Answer:
        """Give a model's answer.

        Args:
            target: where to.
            call: what to ask.
            variant: the only one that may answer; empty: one by weight.
            seconds: how long it may take; None: as the settings say.
            grow: waits until there is room for so many bytes of the answer; None: there is.

        Raises:
            InvalidRequest: the endpoint has no such variant, or failed.
            ModelNotReady: no replica takes the call just now.
            ModelFailed: the model refuses the call, breaks on it, or takes too long.
            Unavailable: the replica ended in the midst of the call.
        """
        seconds = self._seconds if seconds is None else seconds
        place: ReplicaRecord | None = None
        try:
            async with asyncio.timeout(seconds), AsyncExitStack() as stack:
                place, stream = await self._begin(stack, target, call, variant, "whole")
                answer = await stream.whole(grow)
        except TimeoutError as error:
            raise _timed_out(target, place, seconds) from error
        except AnswerTooLong as error:
            raise _failed(target, place, 500, f"{error}; ask for less at once") from error
        except ReplicaBroke as error:
            raise _broken(target) from error
        return Answer(
            body=answer.body,
            content_type=answer.headers.get("content-type", ""),
            variant=place.variant,
            custom_attributes=answer.headers.get(CUSTOM_ATTRIBUTES),
        )

    @asynccontextmanager
    async def stream(self, target: Target, call: ReplicaCall, *, variant: str = "") -> AsyncIterator[StreamedAnswer]:
        """Give a model's answer part by part; raises as `invoke` does as long as nothing of it came."""
        async with AsyncExitStack() as stack:
            place: ReplicaRecord | None = None
            try:
                async with asyncio.timeout(self._seconds):
                    place, stream = await self._begin(stack, target, call, variant, "parts")
            except TimeoutError as error:
                raise _timed_out(target, place, self._seconds) from error
            except AnswerTooLong as error:  # a refusal that has no end
                raise _failed(target, place, 500, str(error)) from error
            except ReplicaBroke as error:
                raise _broken(target) from error
            yield StreamedAnswer(
                content_type=stream.headers.get("content-type", ""),
                variant=place.variant,
                custom_attributes=stream.headers.get(CUSTOM_ATTRIBUTES),
                parts=self._parts(stream),
            )

    async def close(self) -> None:
        """Close the connections to replicas."""
        for client in self._clients.values():
            await client.close()
        self._clients.clear()

    async def _parts(self, stream: ReplicaStream) -> AsyncIterator[bytes]:
        ends_at = clock.monotonic() + STREAM_SECONDS
        while True:
            seconds = min(self._seconds, max(0.0, ends_at - clock.monotonic()))
            try:
                async with asyncio.timeout(seconds):
                    part = await anext(stream.parts, None)
            except TimeoutError as error:
                raise StreamBroken(
                    "ModelInvocationTimeExceeded",
                    f"The model sent nothing for {self._seconds:g} seconds, or was not done after {STREAM_SECONDS:g}.",
                ) from error
            except AnswerTooLong as error:
                raise StreamBroken("StreamBroken", f"{error}; what came so far stands.") from error
            except ReplicaBroke as error:
                raise StreamBroken(
                    "StreamBroken", "The model broke its answer off; what came so far stands."
                ) from error
            if part is None:
                return
            yield part

    async def _begin(
        self, stack: AsyncExitStack, target: Target, call: ReplicaCall, variant: str, wanted: Literal["whole", "parts"]
    ) -> tuple[ReplicaRecord, ReplicaStream]:
        """Find a replica that takes the call and give its answer, open as long as `stack`."""
        tried: list[str] = []
        why = ""
        while True:
            place = self._choose(target, variant, tried, why)
            attempt = AsyncExitStack()
            try:
                attempt.enter_context(self._counted(place.socket))
                client = self._client(place.socket)
                stream = await attempt.enter_async_context(client.begin(place.model, call, wanted))
                if stream.status == 200:
                    stack.push_async_exit(attempt.pop_all())
                    return place, stream
                refusal = await stream.whole()
                why = refusal.error
            except ReplicaUnreachable as error:
                logger.info("replica %s/%d of %s: %s", place.variant, place.number, target.endpoint.name, error)
                refusal, why = None, "its process does not answer"
            finally:
                await attempt.aclose()
            if refusal is not None and refusal.status not in _NOT_TAKEN:
                raise _failed(target, place, refusal.status, why)
            if tried:
                raise _not_ready(target, why)
            tried.append(place.id)
            target = await asyncio.to_thread(self._read_again, target)

    def _read_again(self, target: Target) -> Target:
        was = target.endpoint
        return self.find(was.account_id, was.region, was.name)

    def _choose(self, target: Target, variant: str, tried: Sequence[str], why: str) -> ReplicaRecord:
        weights = {str(one["name"]): float(one["weight"]) for one in target.variants}
        if target.endpoint.status == "Failed" and not weights:
            _refuse_failed(target)
        if variant and weights and variant not in weights:
            raise InvalidRequest(
                where="TargetVariant",
                found=variant,
                problem=f"is no variant of endpoint {target.endpoint.name}",
                fix=f"name one that there is: {', '.join(weights)}",
            )
        taking = [one for one in target.replicas if one.status == "Ready" and one.id not in tried]
        by_variant = {name: [one for one in taking if one.variant == name] for name in weights}
        if variant or not any(weights.values()):
            weights = {name: 1.0 for name in weights if name == variant or not variant}
        open_to_it = {name: weight for name, weight in weights.items() if weight > 0 and by_variant[name]}
        if not open_to_it:
            raise _not_ready(target, why)
        chosen = self._draw.choices(list(open_to_it), list(open_to_it.values()))[0]
        return min(by_variant[chosen], key=lambda one: (self._running[one.socket], self._draw.random()))

    @contextmanager
    def _counted(self, socket: str) -> Iterator[None]:
        self._running[socket] += 1
        try:
            yield
        finally:
            self._running[socket] -= 1
            if not self._running[socket]:
                del self._running[socket]

    def _client(self, socket: str) -> ReplicaClient:
        if socket not in self._clients:
            self._forget_gone()
            self._clients[socket] = ReplicaClient(socket)
        return self._clients[socket]

    def _forget_gone(self) -> None:
        """Let go of what connects to processes that are no more; asked when one comes that is new."""
        for socket in [one for one in self._clients if not self._running[one] and not Path(one).exists()]:
            self._clients.pop(socket).drop()


def log_stream_arn(endpoint: EndpointRecord, place: ReplicaRecord | None) -> str:
    """Give the ARN of the log stream of a replica; without one, that of the endpoint's log group."""
    group = f"arn:aws:logs:{endpoint.region}:{endpoint.account_id}:log-group:/aws/sagemaker/Endpoints/{endpoint.name}"
    return group if place is None else f"{group}:log-stream:{place.variant}/{place.number}"


def _refuse_failed(target: Target) -> NoReturn:
    raise InvalidRequest(
        where=f"Endpoint {target.endpoint.name}",
        problem=f"is Failed and will not answer: {target.endpoint.failure_reason or 'no reason is known'}",
        fix="delete it, mend what failed and create it anew",
    )


def _not_ready(target: Target, why: str) -> ModelNotReady:
    endpoint = target.endpoint
    told = f" ({why})" if why else ""
    until = f"it is {endpoint.status}, and DescribeEndpoint says when it is InService"
    if endpoint.status == "InService" and not any(one.status == "Ready" for one in target.replicas):
        until = (
            "it is InService, and its replicas are being started again: CurrentInstanceCount of DescribeEndpoint says "
            "when there is one"
        )
    elif endpoint.status == "InService":
        until = "it is InService, and its replicas have as much to do as they take"
    return ModelNotReady(
        f"Endpoint {endpoint.name} has no replica that takes calls just now{told}: {until}. Try again in some seconds."
    )


def _failed(target: Target, place: ReplicaRecord | None, status: int, said: str) -> ModelFailed:
    arn = log_stream_arn(target.endpoint, place)
    shown = said if len(said) <= _SHOWN_CHARACTERS else f"{said[:_SHOWN_CHARACTERS]}..."
    at_fault = "client" if status < 500 else "server"
    return ModelFailed(
        f'Received {at_fault} error ({status}) from primary with message "{shown}". '
        f"See {arn} in account {target.endpoint.account_id} for more information.",
        status=status,
        answer=shown,
        log_stream_arn=arn,
    )


def _timed_out(target: Target, place: ReplicaRecord | None, seconds: float) -> ModelFailed:
    said = f"Your invocation timed out while waiting for a response from container primary for {seconds:g} seconds"
    arn = log_stream_arn(target.endpoint, place)
    return ModelFailed(
        f'Received server error (500) from primary with message "{said}". '
        f"See {arn} in account {target.endpoint.account_id} for more information.",
        status=500,
        answer=said,
        log_stream_arn=arn,
    )


def _broken(target: Target) -> Unavailable:
    return Unavailable(
        f"A replica of endpoint {target.endpoint.name} ended in the midst of the call, and is started anew; try again."
    )
