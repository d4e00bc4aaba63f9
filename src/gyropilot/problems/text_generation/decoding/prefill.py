"""Which parts of prompts are read in a turn, so that rows that answer do not wait long; called by the scheduler."""

from __future__ import annotations

from collections.abc import Iterable

from gyropilot.problems.text_generation.decoding.requests import Request

PART_TOKENS = 256
"""Most tokens of prompts that a turn reads."""
_LEAST_PART = 16
_TURN_SECONDS = 0.1
"""How long reading prompts may take in a turn that others wait for."""
_FIRST_RATE = 300.0


class Prefill:
    """How fast prompts are read here, and whose turn it is."""

    def __init__(self, *, in_parts: bool) -> None:
        """`in_parts`: a prompt may be read part by part; else it comes whole."""
        self._in_parts = in_parts
        self._rate = _FIRST_RATE
        """Tokens a second."""
        self._turns = 0

    def parts(self, requests: Iterable[Request], *, is_awaited: bool) -> list[tuple[Request, int]]:
        """Give which prompts are read this turn, and how many tokens of each.

        In turn the oldest and the shortest come first: neither waits for all of the other.

        Args:
            requests: oldest first.
            is_awaited: rows that answer wait for the turn to end.
        """
        self._turns += 1
        unread = [one for one in requests if one.left]
        if self._turns % 2:
            unread.sort(key=lambda one: one.left)
        budget = PART_TOKENS
        if is_awaited:
            budget = max(_LEAST_PART, min(budget, int(self._rate * _TURN_SECONDS)))
        parts: list[tuple[Request, int]] = []
        for request in unread:
            size = min(request.left, budget) if self._in_parts else request.left
            if size > budget and parts:
                continue
            parts.append((request, size))
            budget -= size
            if budget <= 0:
                break
        return parts

    def note(self, tokens: int, seconds: float) -> None:
        """Take down that a turn read so many tokens of prompts in this time."""
        if tokens >= _LEAST_PART and seconds > 0:
            self._rate = 0.7 * self._rate + 0.3 * tokens / seconds
