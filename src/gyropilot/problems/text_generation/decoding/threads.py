"""Chooses how many threads compute a pass: those that were faster when both were tried a moment ago.

On quiet cores all of them are best. Beside busy neighbours each of a pass's hundreds of short products waits for its
slowest thread, and fewer threads or one alone are faster. That changes while a replica lives, and few rows are bound
by memory where many are bound by arithmetic, so it is measured again and again, for each size of pass apart.
"""

from __future__ import annotations

import statistics
import threading
from collections.abc import Iterator
from contextlib import contextmanager
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


class _Computing:
    """How many passes are computed in this process at the moment: its schedulers share the cores."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0

    def add(self, number: int) -> None:
        """Count passes that begin, or, less than 0, that end."""
        with self._lock:
            self.count += number


_COMPUTING = _Computing()


class Threads:
    """The numbers of threads to choose from: one, two, four, ..., all."""

    def __init__(self, cores: int) -> None:
        self._cores = max(1, cores)
        self._numbers = sorted({*(1 << power for power in range(self._cores.bit_length())), self._cores})
        self._choices = [_Choice(best=self._numbers[-1]) for _ in range(len(_SIZES) + 1)]

    @contextmanager
    def shared(self) -> Iterator[int]:
        """Count a pass while the block runs; gives the most threads it may have beside those of other schedulers."""
        _COMPUTING.add(1)
        try:
            yield max(1, self._cores // max(1, _COMPUTING.count))
        finally:
            _COMPUTING.add(-1)

    def next(self, tokens: int, *, most: int | None = None) -> int:
        """Give how many threads are to compute the next pass, of `tokens`; no more than `most`."""
        choice, numbers = self._choice(tokens), self._up_to(most)
        if len(numbers) == 1 or choice.passes_left > 0:
            return min(choice.best, numbers[-1])
        return min(numbers, key=lambda number: len(choice.seconds.get(number, ())))

    def note(self, tokens: int, number: int, seconds: float, *, most: int | None = None) -> None:
        """Hear how long a pass of `tokens` took with `number` threads, of `most` that it might have had."""
        choice, numbers = self._choice(tokens), self._up_to(most)
        if choice.passes_left > 0:
            choice.passes_left -= 1
            return
        choice.seconds.setdefault(number, []).append(seconds / tokens)
        if all(len(choice.seconds.get(one, ())) >= _TRIED for one in numbers):
            choice.best = min(numbers, key=lambda one: statistics.median(choice.seconds[one]))
            choice.passes_left, choice.seconds = _KEPT, {}

    def _up_to(self, most: int | None) -> list[int]:
        return [one for one in self._numbers if most is None or one <= most]

    def _choice(self, tokens: int) -> _Choice:
        return self._choices[sum(tokens > size for size in _SIZES)]
