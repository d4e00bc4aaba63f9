"""What passes between the start of a training child and its first step; told once, as an event of the job."""

from __future__ import annotations

import os
import time
from pathlib import Path

from gyropilot import clock
from gyropilot.problems.contract import Reporter


class Start:
    """Moments of one process, from its start on."""

    def __init__(self) -> None:
        self._parts: dict[str, float] = {}
        self._last = clock.monotonic() - _age()

    def passed(self, part: str) -> None:
        """Say that `part` is done; it took the time since the part before it."""
        now = clock.monotonic()
        self._parts[part] = now - self._last
        self._last = now

    def tell(self, reporter: Reporter) -> None:
        """Record how long the first step was in coming."""
        total = sum(self._parts.values())
        parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in self._parts.items())
        detail = {name: round(seconds, 3) for name, seconds in self._parts.items()}
        reporter.event(
            "first_step",
            f"the first step was done {total:.1f} s after the start of its process ({parts})",
            detail={"seconds": round(total, 3), "parts": detail},
        )


def _age() -> float:
    """Give the seconds since the kernel started this process; 0 where it does not tell."""
    try:
        # The second field, in brackets, may hold anything; the 22nd counts clock ticks from boot to the start.
        fields = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError):
        return 0.0
