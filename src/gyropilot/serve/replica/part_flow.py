"""Carries the parts of a streamed answer from the thread that makes them to the event loop, few wake-ups for many.

Parts that wait are handed on together; a thread that is far ahead of its reader waits.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor

from gyropilot.problems.contract import StreamedReply

_MOST_WAITING = 64
"""Parts that may wait for the reader."""
_END = object()


class PartFlow:
    """One stream; made, read and closed on the event loop."""

    def __init__(self, pool: Executor, open_stream: Callable[[], StreamedReply]) -> None:
        """Begin to make parts in a thread of the pool."""
        self._loop = asyncio.get_running_loop()
        self._begun: asyncio.Future[str] = self._loop.create_future()
        self._changed = asyncio.Event()
        self._room = threading.Semaphore(_MOST_WAITING)
        self._guard = threading.Lock()
        self._waiting: list[bytes] = []
        self._is_told = self._is_over = self._is_closed = False
        self._error: Exception | None = None
        self._making = self._loop.run_in_executor(pool, self._make, open_stream)

    async def content_type(self) -> str:
        """Wait for the first part, and give the content type; raises what was raised before it."""
        return await self._begun

    async def parts(self) -> AsyncIterator[bytes]:
        """Give the parts as they come; raises what is raised between them."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            with self._guard:
                waiting, self._waiting, self._is_told = self._waiting, [], False
                is_over = self._is_over
            if waiting:
                self._room.release(len(waiting))
                yield b"".join(waiting)
            if is_over:
                if self._error is not None:
                    raise self._error
                return

    async def close(self) -> None:
        """Wait until no more is made; who makes parts must have been told to end."""
        self._is_closed = True
        self._room.release(_MOST_WAITING)
        await self._making
        if not self._begun.done():
            self._begun.cancel()

    def _make(self, open_stream: Callable[[], StreamedReply]) -> None:
        """Run in the thread."""
        try:
            streamed = open_stream()
            parts = iter(streamed.parts)
            try:
                part = next(parts, _END)
                self._loop.call_soon_threadsafe(self._begin, streamed.content_type, None)
                while isinstance(part, bytes) and self._put(part):
                    part = next(parts, _END)
            finally:
                close = getattr(parts, "close", None)
                if close is not None:
                    close()
        except Exception as error:
            self._fail(RuntimeError("StopIteration out of a model") if isinstance(error, StopIteration) else error)
        except BaseException as error:  # the loop would end by it
            self._fail(RuntimeError(f"{type(error).__name__} out of a model"))
        with self._guard:
            self._is_over = True
        self._tell()

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._loop.call_soon_threadsafe(self._begin, "", error)

    def _begin(self, content_type: str, error: Exception | None) -> None:
        if self._begun.done():
            return
        if error is None:
            self._begun.set_result(content_type)
        else:
            self._begun.set_exception(error)

    def _put(self, part: bytes) -> bool:
        """Hand a part on, and say whether more is wanted."""
        self._room.acquire()
        if self._is_closed:
            return False
        with self._guard:
            self._waiting.append(part)
            is_told, self._is_told = self._is_told, True
        if not is_told:
            self._tell()
        return True

    def _tell(self) -> None:
        self._loop.call_soon_threadsafe(self._changed.set)
