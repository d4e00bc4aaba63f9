"""Bounds how fast one caller may call, so that the others keep their answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gyropilot.errors import Throttled

CALLS_PER_SECOND = 100.0
BURST = 200.0


class Rates:
    """A bucket of calls per access key, refilled steadily; used from one thread, the event loop's."""

    def __init__(self, tell_seconds: Callable[[], float]) -> None:
        self._tell_seconds = tell_seconds
        self._buckets: dict[str, _Bucket] = {}

    def check(self, access_key_id: str) -> None:
        """Count a call of a proven caller.

        Raises:
            Throttled: the caller's bucket is empty.
        """
        now = self._tell_seconds()
        bucket = self._buckets.setdefault(access_key_id, _Bucket(calls=BURST, filled_at=now))
        bucket.calls = min(BURST, bucket.calls + (now - bucket.filled_at) * CALLS_PER_SECOND)
        bucket.filled_at = now
        if bucket.calls < 1:
            raise Throttled("Rate exceeded")
        bucket.calls -= 1


@dataclass(kw_only=True)
class _Bucket:
    calls: float
    filled_at: float
