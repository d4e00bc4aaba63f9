"""Tells the time; the only place that asks the system for it."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> datetime:
    """Give the present moment, aware, in UTC."""
    return datetime.now(tz=UTC)


def monotonic() -> float:
    """Give seconds from an arbitrary start that never run backwards; for durations and deadlines."""
    return time.monotonic()


def sleep(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)
