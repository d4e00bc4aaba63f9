"""Bounds how fast one caller may call, so that the others keep their answers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from gyropilot.errors import Throttled

BURST_SECONDS = 4
"""A caller that was quiet may make the calls of this many seconds at once."""


class Rates:
    """A bucket of calls per access key, refilled steadily; safe for threads."""

    def __init__(self, tell_seconds: Callable[[], float], calls_per_second: float) -> None:
        self._tell_seconds = tell_seconds
        self._per_second = calls_per_second
        self._burst = max(1.0, calls_per_second * BURST_SECONDS)
        self._buckets: dict[str, _Bucket] = {}
        self._lock = threading.Lock()

    def check(self, access_key_id: str) -> None:
        """Count a call of a proven caller.

        Raises:
            Throttled: the caller's bucket is empty.
        """
        now = self._tell_seconds()
        with self._lock:
            bucket = self._buckets.setdefault(access_key_id, _Bucket(calls=self._burst, filled_at=now))
            refill = max(0.0, now - bucket.filled_at) * self._per_second
            bucket.calls = min(self._burst, bucket.calls + refill)
            bucket.filled_at = max(now, bucket.filled_at)
            if bucket.calls < 1:
                raise Throttled("Rate exceeded")
            bucket.calls -= 1


@dataclass(kw_only=True)
class _Bucket:
    calls: float
    filled_at: float
