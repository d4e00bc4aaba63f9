"""Reads the bodies of calls: large, from callers that may not be proven yet, so within bounds of size, time and sum."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from gyropilot import clock
from gyropilot.control.entrance import BODY_SECONDS
from gyropilot.errors import MalformedRequest, RequestTooLarge, Unavailable
from gyropilot.wire.rest import MAX_BODY_BYTES

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

MOST_BYTES_AT_ONCE = 256 * 2**20
"""Of all calls of this process together."""
MOST_BYTES_OF_KEY = MOST_BYTES_AT_ONCE // 2
"""Of the calls of one key, so that nobody who has but one can take the room of all."""
SLOWEST_BYTES_PER_SECOND = 2**20


class ClientGone(Exception):
    """The client went away; nobody waits for an answer."""


class CallBodies:
    """Counts what all calls hold; used on one event loop."""

    def __init__(self) -> None:
        self._held_bytes = 0
        self._of_key: Counter[str] = Counter()

    @contextmanager
    def room(self) -> Iterator[BodyRoom]:
        """Give the room for the body of one call, which is let go with the block."""
        room = BodyRoom(self)
        try:
            yield room
        finally:
            self._held_bytes -= room.held_bytes
            self._of_key[room.key] -= room.held_bytes
            if not self._of_key[room.key]:
                del self._of_key[room.key]

    def take(self, room: BodyRoom, size: int) -> None:
        """Count bytes that a room holds.

        Raises:
            Unavailable: the calls, or those of the key, hold too much together.
        """
        if self._of_key[room.key] + size > MOST_BYTES_OF_KEY:
            raise Unavailable("The service reads too many large calls of this key at the moment; try again.")
        if self._held_bytes + size > MOST_BYTES_AT_ONCE:
            raise Unavailable("The service reads too many large calls at the moment; try again.")
        self._held_bytes += size
        self._of_key[room.key] += size
        room.held_bytes += size


class BodyRoom:
    """Where the body of one call lies."""

    def __init__(self, bodies: CallBodies) -> None:
        self._bodies = bodies
        self.held_bytes = 0
        self.key = ""
        self.is_unread = True
        """Whether some of the body may not have come, so that nothing can follow on the connection."""

    async def read(self, receive: Receive, stated_length: str, key: str) -> bytes:
        """Give the whole body of a call that is made with that access key, or says to be.

        Raises:
            RequestTooLarge: it is longer than is taken.
            MalformedRequest: it comes too slowly.
            Unavailable: all calls, or those of the key, hold too much together.
            ClientGone: the client went away.
        """
        if not stated_length.isdigit() or int(stated_length[:20]) > MAX_BODY_BYTES:
            raise _too_large()
        self.key = key
        body = bytearray()
        started_at = clock.monotonic()
        while True:
            in_time = started_at + BODY_SECONDS + len(body) / SLOWEST_BYTES_PER_SECOND
            try:
                async with asyncio.timeout(in_time - clock.monotonic()):
                    message = await receive()
            except TimeoutError as error:
                raise MalformedRequest("The body did not arrive in time.") from error
            if message["type"] == "http.disconnect":
                raise ClientGone
            part = message.get("body", b"")
            self._bodies.take(self, len(part))
            body += part
            if len(body) > MAX_BODY_BYTES:
                raise _too_large()
            if not message.get("more_body", False):
                self.is_unread = False
                return bytes(body)


def _too_large() -> RequestTooLarge:
    return RequestTooLarge(f"The body is longer than {MAX_BODY_BYTES} bytes.")
