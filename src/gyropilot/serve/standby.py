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


class Runner(Protocol):
    """Something that works in threads of its own."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End, and wait until that is done."""


class Standby:
    """Runs the runners while it holds the lock `serve`; another process of the home waits for its turn."""

    def __init__(self, home: Path, make_runners: Callable[[], Sequence[Runner]]) -> None:
        self._home, self._make_runners = home, make_runners
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
        for runner in reversed(self._runners):
            runner.stop()
        if self._lock is not None:
            self._lock.release()

    def _run(self) -> None:
        is_waiting = False
        while (lock := home_locks.serve(self._home)) is None:
            if not is_waiting:
                logger.info("another process keeps the replicas of this home; this one stands by")
                is_waiting = True
            if self._going_down.wait(_WAIT_SECONDS):
                return
        self._lock = lock
        for runner in self._make_runners():
            runner.start()
            self._runners.append(runner)
