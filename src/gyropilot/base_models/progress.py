"""How a long installation tells where it stands."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Hears the phase (as "downloading falcon-7b"), and bytes done and in all; in all is 0 where it is not known."""

    def __call__(self, phase: str, done: int, total: int, /) -> None:
        """Take note; called often, must be quick."""


def ignored(phase: str, done: int, total: int, /) -> None:
    """Hear nothing."""
