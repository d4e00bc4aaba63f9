"""Chooses how many threads compute a pass: those that were faster when both were tried a moment ago.

On quiet cores all of them are best. Beside busy neighbours each of a pass's hundreds of short products waits for its
slowest thread, and one thread alone is faster. That changes while a replica lives, and few rows are bound by memory
where many are bound by arithmetic, so it is measured again and again, for each size of pass apart.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

_SIZES = (1, 8, 32)
_TRIED = 5
"""Passes a try gives each number of threads, by turns."""
_KEPT = 400
"""Passes after which another try is due."""


@dataclass
class _Choice:
    """What is known for passes of one size."""

    best: int
    passes_left: int = 0
    seconds: dict[int, list[float]] = field(default_factory=dict)
    """Of each token, by number of threads, in the try under way."""


class Threads:
    """The numbers of threads to choose from: one, or all."""

    def __init__(self, cores: int) -> None:
        self._numbers = sorted({1, max(1, cores)})
        self._choices = [_Choice(best=self._numbers[-1]) for _ in range(len(_SIZES) + 1)]

    def next(self, tokens: int) -> int:
        """Give how many threads are to compute the next pass, of `tokens`."""
        choice = self._choice(tokens)
        if len(self._numbers) == 1 or choice.passes_left > 0:
            return choice.best
        return min(self._numbers, key=lambda number: len(choice.seconds.get(number, ())))

    def note(self, tokens: int, number: int, seconds: float) -> None:
        """Hear how long a pass of `tokens` took with `number` threads."""
        choice = self._choice(tokens)
        if choice.passes_left > 0:
            choice.passes_left -= 1
            return
        choice.seconds.setdefault(number, []).append(seconds / tokens)
        if all(len(choice.seconds.get(one, ())) >= _TRIED for one in self._numbers):
            choice.best = min(self._numbers, key=lambda one: statistics.median(choice.seconds[one]))
            choice.passes_left, choice.seconds = _KEPT, {}

    def _choice(self, tokens: int) -> _Choice:
        return self._choices[sum(tokens > size for size in _SIZES)]
