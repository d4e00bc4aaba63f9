"""How long a job, and the candidates in work, were worked on: over all attempts, by a clock that no date moves.

What is noted with the job's progress is what a later attempt begins from; time in the queue, in back-off or while the
service was down does not count.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from gyropilot import clock

JOB = "job"


class TimeUsed:
    """Seconds by what they were used for: `job`, or the name of a candidate; usable from any thread."""

    def __init__(self, before: Mapping[str, float]) -> None:
        self._before = dict(before)
        self._began: dict[str, float] = {}
        self._using = threading.Lock()

    def begin(self, what: str) -> None:
        """Count from now on; nothing if it counts already."""
        with self._using:
            self._began.setdefault(what, clock.monotonic())

    def seconds(self, what: str) -> float:
        """Give the seconds used, those of earlier attempts among them."""
        with self._using:
            return self._seconds(what)

    def forget(self, what: str) -> None:
        """Drop what has ended for good."""
        with self._using:
            self._began.pop(what, None)
            self._before.pop(what, None)

    def to_json(self) -> dict[str, float]:
        """Give what a later attempt begins from."""
        with self._using:
            return {what: round(self._seconds(what), 3) for what in {**self._before, **self._began}}

    def _seconds(self, what: str) -> float:
        began = self._began.get(what)
        return self._before.get(what, 0.0) + (clock.monotonic() - began if began is not None else 0.0)
