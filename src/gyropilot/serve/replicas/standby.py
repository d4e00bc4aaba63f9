"""Waits until this process may keep the replicas of its home, and then starts what works on them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from gyropilot.store import home_locks
from gyropilot.store.home_locks import HomeLock

logger = logging.getLogger(__name__)

_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 30.0


class Runner(Protocol):
    """Something that works in threads of its own."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End, and wait until that is done."""


class Standby:
    """Runs the runners while it holds the lock `serve`; another process of the home waits for its turn.

    What keeps them from starting is told once; the lock is let go, and all is tried again, longer apart each time.
    """

    def __init__(
        self, home: Path, make_runners: Callable[[], Sequence[Runner]], *, wait_seconds: float = _WAIT_SECONDS
    ) -> None:
        self._home, self._make_runners, self._wait_seconds = home, make_runners, wait_seconds
        self._runners: list[Runner] = []
        self._lock: HomeLock | None = None
        self._going_down = threading.Event()
        self._thread = threading.Thread(target=self._run, name="standby")

    def start(self) -> None:
        """Begin to wait, or to run."""
        self._thread.start()

    def stop(self) -> None:
        """End the runners, the last one started first, and let another process have its turn."""
        self._going_down.set()
        self._thread.join()
        self._stop_runners()

    def _stop_runners(self) -> None:
        """Stop what was started, and let go of the lock."""
        while self._runners:
            runner = self._runners.pop()
            try:
                runner.stop()
            except Exception:
                logger.exception("what works on replicas could not be stopped")
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    def _run(self) -> None:
        told, wait_seconds = "", self._wait_seconds
        while not self._going_down.is_set():
            try:
                if self._begin():
                    return
                level, what = logging.INFO, "another process keeps the replicas of this home; this one stands by"
                wait_seconds = self._wait_seconds
            except Exception as error:
                self._stop_runners()
                level, what = logging.ERROR, f"the replicas of this home cannot be kept, trying again: {error!r}"
                wait_seconds = min(_LONGEST_WAIT_SECONDS, wait_seconds * 2)
            if what != told:
                logger.log(level, what)
                told = what
            self._going_down.wait(wait_seconds)

    def _begin(self) -> bool:
        """Take the lock and start the runners; False where another process has it."""
        self._lock = home_locks.serve(self._home)
        if self._lock is None:
            return False
        for runner in self._make_runners():
            runner.start()
            self._runners.append(runner)
        return True
