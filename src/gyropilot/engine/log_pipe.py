"""Carries what a child prints from its pipe to a log, in a thread of its own, as fast as a log should grow."""

from __future__ import annotations

import os
import selectors
import threading
from collections.abc import Callable

from gyropilot import clock

_LOOK_SECONDS = 0.2
_BYTES_PER_SECOND = 32 * 2**20
"""A child that prints faster waits: copying is work for the service too."""


class LogPipe:
    """The reading end of a child's standard output and error."""

    def __init__(self, descriptor: int, write: Callable[[bytes], None]) -> None:
        self._descriptor, self._write = descriptor, write
        self._is_over = threading.Event()
        os.set_blocking(descriptor, False)
        self._thread = threading.Thread(target=self._carry, name=f"log of {descriptor}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take what still lies in the pipe and close it; the child has ended."""
        self._is_over.set()
        self._thread.join()
        os.close(self._descriptor)

    def _carry(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._descriptor, selectors.EVENT_READ)
            while selector.select(_LOOK_SECONDS) or not self._is_over.is_set():
                data = self._read()
                if data is None:
                    continue
                if not data:
                    return
                self._write(data)
                clock.sleep(len(data) / _BYTES_PER_SECOND)

    def _read(self) -> bytes | None:
        """Give what lies in the pipe; None where nothing does, empty at its end."""
        try:
            return os.read(self._descriptor, 65536)
        except BlockingIOError:
            return None
