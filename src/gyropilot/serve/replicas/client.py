"""Asks the models of a replica process over its Unix socket; used by the router and by batch transforms.

HTTP/1.1 by h11 on asyncio's own streams: half a millisecond a call less than a general client, and nothing to load.
Connections are kept and used again, for one call at a time; a client belongs to one event loop.
What loads and ends models waits in threads, and asks by `replica_calls`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

import h11

from gyropilot.errors import GyropilotError
from gyropilot.problems.contract import Style

Json = Any
Grow = Callable[[int], Awaitable[None]]
"""Waits until there is room for an answer of that many bytes."""

_READ_BYTES = 2**16
_MOST_IDLE = 64
MOST_ANSWER_BYTES = 64 * 2**20
_NEVER_READ = (BrokenPipeError, ConnectionResetError)
"""What a Unix socket says whose other side closed with bytes of ours unread."""


class ReplicaUnreachable(GyropilotError):
    """The replica did not take the call: nothing of it was worked on, another one may be asked."""


class ReplicaBroke(GyropilotError):
    """The connection ended in the midst of a call."""


class AnswerTooLong(GyropilotError):
    """The model answers with more than is passed on; it would again."""


@dataclass(frozen=True, kw_only=True)
class ReplicaCall:
    """What is asked of a loaded model."""

    body: bytes
    content_type: str = ""
    accept: str = ""
    style: Style = "invoke"
    model_name: str = ""
    """What the caller calls the model."""
    more_headers: Mapping[str, str] = field(default_factory=dict)
    """Passed on as they are."""


@dataclass(frozen=True, kw_only=True)
class ReplicaAnswer:
    """A whole answer, of whatever status; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self) -> str:
        """What a refusal says; empty where it says nothing."""
        try:
            said = json.loads(self.body)
        except ValueError:
            return self.body.decode("utf-8", "replace")
        return str(said.get("error", "")) if isinstance(said, dict) else ""


@dataclass(frozen=True, kw_only=True)
class ReplicaStream:
    """An answer that is still coming."""

    status: int
    headers: Mapping[str, str]
    parts: AsyncIterator[bytes]
    """As they come; raises ReplicaBroke where the replica breaks off, AnswerTooLong where there is no end."""

    async def whole(self, grow: Grow | None = None) -> ReplicaAnswer:
        """Give the answer once all of it came, as is done with refusals; `grow` is asked before more of it is read."""
        parts, size = list[bytes](), 0
        async for part in self.parts:
            size += len(part)
            if grow is not None:
                await grow(size)
            parts.append(part)
        return ReplicaAnswer(status=self.status, headers=self.headers, body=b"".join(parts))


class ReplicaClient:
    """The calls of one replica process. None of them ends by itself: the caller bounds them by asyncio.timeout.

    Every one raises ReplicaUnreachable, ReplicaBroke or AnswerTooLong; a call that is cancelled closes its connection,
    by which the replica knows that nobody waits any more.
    """

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._idle: list[_Line] = []

    async def invoke(self, model: str, call: ReplicaCall) -> ReplicaAnswer:
        """Ask a model for a whole answer."""
        async with self.begin(model, call, "whole") as stream:
            return await stream.whole()

    @asynccontextmanager
    async def begin(
        self, model: str, call: ReplicaCall, wanted: Literal["whole", "parts"]
    ) -> AsyncIterator[ReplicaStream]:
        """Ask a model; gives its answer once the head of it is there. Refusals come whole, by their status."""
        line = await self._line()
        try:
            yield await line.ask(f"/models/{quote(model, safe='')}/invocations", _headers(call, wanted), call.body)
        finally:
            if line.is_at_rest() and len(self._idle) < _MOST_IDLE:
                self._idle.append(line)
            else:
                line.close()

    async def close(self) -> None:
        """Close the connections that no call uses, and wait until they are."""
        lines, self._idle = self._idle, []
        for line in lines:
            await line.closed()

    def drop(self) -> None:
        """Close the connections that no call uses."""
        while self._idle:
            self._idle.pop().close()

    async def _line(self) -> _Line:
        while self._idle:
            line = self._idle.pop()
            if line.is_open():
                return line
            line.close()
        return await _Line.open(self._socket)


class _Line:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._http = h11.Connection(h11.CLIENT)

    @classmethod
    async def open(cls, socket: str) -> _Line:
        try:
            return cls(*await asyncio.open_unix_connection(socket, limit=_READ_BYTES))
        except OSError as error:
            raise ReplicaUnreachable(f"nothing answers at {socket}: {error.strerror or error}") from error

    def is_open(self) -> bool:
        """Say whether the other side has not closed it, as far as is known."""
        return not (self._reader.at_eof() or self._reader.exception() or self._writer.is_closing())

    def is_at_rest(self) -> bool:
        """Say whether a call may follow; makes ready for it."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return self.is_open()

    def close(self) -> None:
        self._writer.close()

    async def closed(self) -> None:
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    async def ask(self, path: str, headers: Mapping[str, str], body: bytes) -> ReplicaStream:
        """Send a request and give its answer once its head is there."""
        pairs = [("host", "replica"), ("content-length", str(len(body))), *headers.items()]
        request = h11.Request(method="POST", target=path, headers=[(n.encode(), v.encode("latin-1")) for n, v in pairs])
        written = self._http.send(request) or b""
        if body:
            written += self._http.send(h11.Data(data=body)) or b""
        written += self._http.send(h11.EndOfMessage()) or b""
        try:
            self._writer.write(written)
            await self._writer.drain()
        except _NEVER_READ as error:
            raise ReplicaUnreachable("the replica closed the connection before it had the call") from error
        head = await self._next()
        while isinstance(head, h11.InformationalResponse):
            head = await self._next()
        if not isinstance(head, h11.Response):
            raise ReplicaBroke("the replica closed the connection in the midst of the call")
        told = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
        return ReplicaStream(status=head.status_code, headers=told, parts=self._parts())

    async def _parts(self) -> AsyncIterator[bytes]:
        size = 0
        while True:
            found = await self._next()
            if isinstance(found, h11.EndOfMessage):
                return
            if not isinstance(found, h11.Data):
                raise ReplicaBroke("the replica closed the connection in the midst of its answer")
            size += len(found.data)
            if size > MOST_ANSWER_BYTES:
                raise AnswerTooLong(f"the model's answer is longer than {MOST_ANSWER_BYTES} bytes")
            yield bytes(found.data)

    async def _next(self) -> object:
        try:
            while True:
                found: Any = self._http.next_event()
                if found is not h11.NEED_DATA:
                    return found
                self._http.receive_data(await self._reader.read(_READ_BYTES))
        except _NEVER_READ as error:
            if self._http.their_state is h11.SEND_RESPONSE:
                raise ReplicaUnreachable("the replica closed the connection before it had the call") from error
            raise ReplicaBroke("the replica closed the connection in the midst of its answer") from error
        except h11.RemoteProtocolError as error:
            raise ReplicaBroke("the replica closed the connection in the midst of the call") from error


def _headers(call: ReplicaCall, wanted: Literal["whole", "parts"]) -> dict[str, str]:
    headers = {
        "content-type": call.content_type,
        "accept": call.accept,
        "x-gyropilot-style": call.style,
        "x-gyropilot-stream": "1" if wanted == "parts" else "0",
        "x-gyropilot-model": call.model_name,
        **call.more_headers,
    }
    return {name: value for name, value in headers.items() if value}
