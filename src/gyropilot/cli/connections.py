"""HTTP as every door speaks it: uvicorn's protocol on h11, with bounds in time, and answers that are not lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
LINGER_SECONDS = 3.0


class BoundedProtocol(H11Protocol):
    """A connection that is closed if the head of its next request has begun and is not there in time.

    uvicorn bounds the wait between two requests alone: who sends a header now and then, or nothing at all, would hold a
    connection as long as they like. A body has its own bound in the door that reads it.

    A request that is refused before it was read to its end is read on for a while, and what comes is dropped: the
    system answers what arrives at a closed socket by a reset, which takes the refusal from the client's hands unread.
    """

    _head_timer: asyncio.TimerHandle | None = None
    _lingering: _Lingering

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        self._lingering = _Lingering(transport, self._is_amid_request)
        super().connection_made(self._lingering)  # type: ignore[arg-type]
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Take data in; end the wait when they complete a head, or begin one when they begin it."""
        if self._lingering.is_closing():
            return
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._await_head()
        else:
            self._end_wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the wait with the connection."""
        self._end_wait()
        self._lingering.end()
        super().connection_lost(exc)

    def _is_amid_request(self) -> bool:
        return self.conn.their_state in (h11.SEND_BODY, h11.ERROR)

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _end_wait(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()


class _Lingering:
    """A transport whose `close`, amid a request, ends the answer at once and the reading when the client is done."""

    def __init__(self, transport: asyncio.Transport, is_amid_request: Callable[[], bool]) -> None:
        self._transport, self._is_amid_request = transport, is_amid_request
        self._timer: asyncio.TimerHandle | None = None

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self._timer is not None or self._transport.is_closing()

    def close(self) -> None:
        if self.is_closing():
            return
        if not self._is_amid_request() or not self._transport.can_write_eof():
            self._transport.close()
            return
        self._transport.write_eof()
        self._transport.resume_reading()
        self._timer = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._transport.close)

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
