"""The calls that a replica process answers, as one ASGI app.

GET    /ping                        200; 503 when what computes the answers has ended
POST   /models                      {"name", "containers": [{"folder", "environment"}], "seconds"}; answered once it is
                                    loaded; 504 where that takes longer, counted from when its own loading begins
DELETE /models/{name}               takes no more calls, waits for those inside, unloads; gives up what is being loaded
POST   /models/{name}/invocations   x-gyropilot-style: invoke | chat | completion; x-gyropilot-stream: 0 | 1;
                                    x-gyropilot-model: what the caller calls the model
Every error is {"error": text}. A stream that breaks off ends with the connection.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

from gyropilot import clock
from gyropilot.errors import (
    AlreadyExists,
    GyropilotError,
    InvalidData,
    InvalidRequest,
    LimitExceeded,
    MissingExtra,
    NotFound,
    RequestTooLarge,
    TrainingFailed,
    Unavailable,
)
from gyropilot.log import printable
from gyropilot.problems.contract import Call, Style
from gyropilot.serve.replica.hosted_models import ContainerFiles, HostedModels, LoadOverdue
from gyropilot.serve.replicas import calls as replica_calls

logger = logging.getLogger(__name__)

Json = Any
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

STYLES: tuple[Style, ...] = get_args(Style)
LARGEST_BODY = 128 * 2**20
"""Bytes; more than any door or batch transform lets through."""
_REFUSALS_A_SECOND = 10
_LOGGED_CHARACTERS = 500
_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
_TOO_LARGE = f"The payload has more than {LARGEST_BODY} bytes."
_STATUS: tuple[tuple[type[GyropilotError], int], ...] = (
    (InvalidRequest, 400),
    (InvalidData, 400),
    (NotFound, 404),
    (AlreadyExists, 409),
    (RequestTooLarge, 413),
    (TrainingFailed, 422),
    (MissingExtra, 422),
    (LimitExceeded, 503),
    (Unavailable, 503),
)
_BROKE = f"The model broke on this call; {replica_calls.IN_ITS_LOG}."
_NOT_LOADED = f"An unexpected {{}} ended the loading of the model; {replica_calls.IN_ITS_LOG}."
_NO_MEMORY_TO_LOAD = "out of memory: the replica has no room for the model; grant replicas more memory, or serve less."
_NO_MEMORY = "The replica has no memory left for this call; send less at once, or grant replicas more memory."


def make_app(models: HostedModels) -> App:
    """Give the app of one process."""
    told = _Refusals()

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        exchange = _Exchange(scope, receive, send)
        try:
            await _route(models, exchange)
        except _BrokenOff:
            raise
        except Exception as error:
            status, text = _judged(error, is_load=exchange.path == ["models"])
            if status >= 500 and not isinstance(error, Unavailable | LimitExceeded | LoadOverdue):
                logger.exception("%s %s broke", scope["method"], scope["path"])
            elif exchange.path[-1] == "invocations":
                told.tell(exchange.header("content-type"), status, text)
            await exchange.answer(status, {"error": text})

    return app


class _Refusals:
    """Tells the log of calls that were not answered: a line each, without payloads, no more than some a second."""

    def __init__(self) -> None:
        self._second, self._count = 0, 0

    def tell(self, content_type: str, status: int, message: str) -> None:
        second = int(clock.monotonic())
        if second != self._second:
            if self._count > _REFUSALS_A_SECOND:
                logger.warning("%d calls more were refused within a second", self._count - _REFUSALS_A_SECOND)
            self._second, self._count = second, 0
        self._count += 1
        if self._count <= _REFUSALS_A_SECOND:
            said = printable(message[:_LOGGED_CHARACTERS])
            logger.warning("a call (%s) was refused with %d: %s", printable(content_type[:100]) or "-", status, said)


async def _route(models: HostedModels, exchange: _Exchange) -> None:
    match (exchange.method, *exchange.path):
        case ("GET", "ping"):
            if not models.is_sound:
                raise Unavailable("What computes the answers has ended; the process must be started afresh.")
            await exchange.answer(200, {})
        case ("POST", "models"):
            given = json.loads(await exchange.body())
            containers = [
                ContainerFiles(folder=Path(one["folder"]), environment=one["environment"])
                for one in given["containers"]
            ]
            await models.load(given["name"], containers, seconds=given["seconds"])
            await exchange.answer(200, {})
        case ("DELETE", "models", name):
            await models.unload(name)
            await exchange.answer(200, {})
        case ("POST", "models", name, "invocations"):
            call = await _call(exchange)
            with exchange.watched(call):
                if exchange.header("x-gyropilot-stream") == "1":
                    await _stream(models, exchange, name, call)
                else:
                    reply = await models.answer(name, call)
                    await exchange.answer_bytes(200, reply.body, reply.content_type)
        case _:
            await exchange.answer(404, {"error": f"There is nothing at {exchange.method} /{'/'.join(exchange.path)}."})


async def _call(exchange: _Exchange) -> Call:
    named = exchange.header("x-gyropilot-style") or "invoke"
    style = next((one for one in STYLES if one == named), None)
    if style is None:
        raise InvalidRequest(
            where="x-gyropilot-style", found=named, problem="is no style", fix=f"write one of {', '.join(STYLES)}"
        )
    return Call(
        body=await exchange.body(),
        content_type=_content_type(exchange.header("content-type")),
        accept=exchange.header("accept"),
        style=style,
        model_name=exchange.header("x-gyropilot-model"),
    )


def _content_type(given: str) -> str:
    """Give a content type without its parameters.

    Raises:
        InvalidRequest: the payload is in a charset that models do not read.
    """
    content_type, _, parameters = given.partition(";")
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in _CHARSETS:
            fix = "write the payload in utf-8"
            raise InvalidRequest(where="ContentType", found=given, problem="names a charset not read here", fix=fix)
    return content_type.strip().lower()


async def _stream(models: HostedModels, exchange: _Exchange, name: str, call: Call) -> None:
    async with models.stream(name, call) as (content_type, parts):
        await exchange.begin(200, content_type)
        try:
            async for part in parts:
                if call.cancelled.is_set():
                    return
                await exchange.more(part)
        except Exception as error:
            raise _BrokenOff from error
        await exchange.end()


class _BrokenOff(Exception):
    """A stream ended before its end; the server cuts the connection, which tells the client."""


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: list[str] = scope["path"].strip("/").split("/")
        self._headers: dict[bytes, str] = {name: value.decode("latin-1") for name, value in scope["headers"]}
        self._receive, self._send = receive, send

    def header(self, name: str) -> str:
        return self._headers.get(name.encode("ascii"), "")

    async def body(self) -> bytes:
        whole = bytearray()
        if int(self.header("content-length") or 0) > LARGEST_BODY:
            raise RequestTooLarge(_TOO_LARGE)
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Unavailable("The caller went before the whole call was there.")
            whole += message.get("body", b"")
            if len(whole) > LARGEST_BODY:
                raise RequestTooLarge(_TOO_LARGE)
            if not message.get("more_body"):
                return bytes(whole)

    @contextmanager
    def watched(self, call: Call) -> Iterator[None]:
        """Say to the call when its caller goes, while the block runs."""

        async def watch() -> None:
            while (await self._receive())["type"] != "http.disconnect":
                pass
            call.cancelled.set()

        watching = asyncio.create_task(watch())
        try:
            yield
        finally:
            watching.cancel()

    async def answer(self, status: int, value: Json) -> None:
        await self.answer_bytes(status, json.dumps(value).encode(), "application/json")

    async def answer_bytes(self, status: int, body: bytes, content_type: str) -> None:
        length = (b"content-length", str(len(body)).encode())
        await self._start(status, content_type, length)
        await self._send({"type": "http.response.body", "body": body})

    async def begin(self, status: int, content_type: str) -> None:
        await self._start(status, content_type)

    async def more(self, part: bytes) -> None:
        await self._send({"type": "http.response.body", "body": part, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    async def _start(self, status: int, content_type: str, *more: tuple[bytes, bytes]) -> None:
        headers = [(b"content-type", content_type.encode("latin-1")), *more]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})


def _judged(error: Exception, *, is_load: bool) -> tuple[int, str]:
    """Give status and text of an error; of one that is not ours nothing is told but that it was."""
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return status, str(error)
    if isinstance(error, LoadOverdue):
        return replica_calls.OVERDUE, str(error)
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return 500, _NO_MEMORY_TO_LOAD if is_load else _NO_MEMORY
    return 500, _NOT_LOADED.format(type(error).__name__) if is_load else _BROKE
