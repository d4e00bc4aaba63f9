"""What a check of `gyropilot doctor` gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    check: str
    """What it belongs to, in a word or two."""
    level: Level
    """warn: it works, with something to know; fail: jobs, or the service, will not work."""
    said: str
    mend: str = ""
    """What to do; empty where all is well."""


def ok(check: str, said: str) -> Finding:
    """Give a finding that needs nothing."""
    return Finding(check=check, level="ok", said=said)


def warn(check: str, said: str, mend: str) -> Finding:
    """Give a finding that one should know."""
    return Finding(check=check, level="warn", said=said, mend=mend)


def fail(check: str, said: str, mend: str) -> Finding:
    """Give a finding that has to be mended."""
    return Finding(check=check, level="fail", said=said, mend=mend)
