"""What the doors for calls of models have in common: a request as it comes, its answer, and the life of a door.

A process has one `Shared`: its doors count callers, bodies and the calls of replicas together.
"""

from __future__ import annotations

import asyncio
import uuid
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from gyropilot import clock
from gyropilot.control.entrance import Caller, Entrance
from gyropilot.control.house import House
from gyropilot.errors import Unavailable
from gyropilot.serve.doors.call_bodies import BodyRoom, CallBodies, ClientGone
from gyropilot.serve.doors.waiting import while_client_waits
from gyropilot.serve.router import STREAM_SECONDS, Router

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
T = TypeVar("T")

READING_SECONDS = 60.0
"""A client that needs so much longer than the model for its answer does not hold the replica any more."""


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What the doors of one process, on one event loop, share."""

    entrance: Entrance
    router: Router
    bodies: CallBodies

    @classmethod
    def of(cls, house: House, entrance: Entrance | None = None) -> Shared:
        """Make it for a house; with an entrance, where other doors have one already."""
        entrance = entrance or Entrance(house.credentials, house.settings)
        return cls(entrance=entrance, router=Router(house), bodies=CallBodies())


@dataclass(kw_only=True)
class Knock:
    """A request, and what is known of it so far."""

    id_header: ClassVar[str]
    """In which answers bear the request's id."""

    scope: Scope
    receive: Receive
    send: Send
    headers: list[tuple[str, str]]
    """Names in lower case, values as Latin-1."""
    room: BodyRoom
    request_id: str
    status: int = 0
    error_code: str = ""
    is_begun: bool = False
    """Whether an answer has begun, after which no other can."""
    caller: Caller = field(init=False)

    def header(self, name: str) -> str | None:
        """Give the first header of that name."""
        return next((value for one, value in self.headers if one == name), None)

    @property
    def access_key_id(self) -> str:
        """Of the caller; `-` as long as nobody is proven."""
        return self.caller.principal.access_key_id if hasattr(self, "caller") else "-"

    @property
    def outcome(self) -> str:
        """Status and code of the answer, for the log."""
        return f"{self.status or '-'} {self.error_code}".rstrip()

    async def answer(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        """Send a whole answer."""
        await self.begin(status, [*headers, ("content-length", str(len(body)))])
        await self.more(b"" if self.scope["method"] == "HEAD" else body, is_last=True)

    async def begin(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        """Send the head of an answer."""
        self.is_begun, self.status = True, status
        own = [
            (self.id_header, self.request_id),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
        ]
        has_body = self.header("content-length") not in (None, "0") or self.header("transfer-encoding") is not None
        if has_body and self.room.is_unread:
            own.append(("connection", "close"))
        pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in (*headers, *own)]
        await self.send({"type": "http.response.start", "status": status, "headers": pairs})

    async def more(self, body: bytes, *, is_last: bool = False) -> None:
        """Send a part of an answer."""
        await self.send({"type": "http.response.body", "body": body, "more_body": not is_last})


K = TypeVar("K", bound=Knock)


class Door(ABC, Generic[K]):
    """A door: what it does with a knock is its own, all around it is here."""

    def __init__(self, house: House, shared: Shared, knock: type[K], *, threads: int, name: str) -> None:
        self._house, self._entrance, self._router, self._bodies = house, shared.entrance, shared.router, shared.bodies
        self._knock = knock
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Be an ASGI app."""
        if scope["type"] == "http":
            await self._live_knock(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._live(receive, send)

    @abstractmethod
    async def _answer(self, knock: K) -> None:
        """Answer a request."""

    @abstractmethod
    async def _answer_error(self, knock: K, error: Exception) -> None:
        """Make an error the answer, or the end of the stream; the one place where that is done."""

    @abstractmethod
    def _log(self, knock: K, seconds: float) -> None:
        """Write the line of a request that is over."""

    async def _in_thread(self, function: Callable[..., T], *given: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *given)

    async def _while_client_reads(self, knock: K, work: Coroutine[Any, Any, None]) -> None:
        """Do the work, given up when the client goes away or leaves the answer unread for too long."""
        seconds = self._house.settings.invocation_seconds + STREAM_SECONDS + READING_SECONDS
        try:
            async with asyncio.timeout(seconds):
                await while_client_waits(knock.receive, work)
        except TimeoutError as error:  # the router bounds the model; who is slow is the client, who reads on and on
            raise ClientGone from error

    async def _live_knock(self, scope: Scope, receive: Receive, send: Send) -> None:
        started_at = clock.monotonic()
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        with self._bodies.room() as room:
            knock = self._knock(
                scope=scope, receive=receive, send=send, headers=headers, room=room, request_id=str(uuid.uuid4())
            )
            try:
                await self._answer(knock)
            except ClientGone:
                knock.error_code = "(the client went away)"
            except asyncio.CancelledError:
                # The server ends, and what it did not wait for is cut: told, since nobody else says so to the client.
                await self._answer_error(knock, Unavailable("The service is going down; try again in some seconds."))
            except Exception as error:
                await self._answer_error(knock, error)
            self._log(knock, clock.monotonic() - started_at)

    async def _live(self, receive: Receive, send: Send) -> None:
        """Follow the server's life: at its end, connections to replicas are closed."""
        message = {"type": ""}
        while message["type"] != "lifespan.shutdown":
            message = dict(await receive())
            if message["type"] == "lifespan.shutdown":
                await self._router.close()
                self._threads.shutdown(wait=False)
            await send({"type": f"{message['type']}.complete"})
