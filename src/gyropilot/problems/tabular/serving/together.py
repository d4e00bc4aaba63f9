"""Computes the rows of calls that wait for each other in one go; a few rows take hardly longer than one.

calls     a --- computed ---|      a's rows alone
          b    ... waits ...|-- b, c, d computed --|
          c      ... waits .|----------------------|
          d        ... waits|----------------------|
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    import pandas as pd

Computed = TypeVar("Computed", bound=Any)
"""An array or a sparse matrix, its first axis that of the rows."""


class Together(Generic[Computed]):
    """What a model computes of rows, for many threads; the model itself is asked by one at a time."""

    def __init__(self, compute: Callable[[pd.DataFrame], Computed], *, most_rows: int) -> None:
        """Up to `most_rows` of several calls go together; a call with more goes alone."""
        self._compute, self._most_rows = compute, most_rows
        self._waiting: deque[_Part[Computed]] = deque()
        self._turn = threading.Lock()

    def __call__(self, features: pd.DataFrame, cancelled: threading.Event) -> Computed | None:
        """Compute some rows; None where `cancelled` was set before their turn. Raises what `compute` raises."""
        part = _Part[Computed](features, cancelled)
        self._waiting.append(part)  # seen by whoever has the turn, or by this thread once it has
        with self._turn:
            while not part.is_over:
                self._compute_next()
        if part.error is not None:
            raise part.error
        return part.computed

    def _compute_next(self) -> None:
        """Compute for those who wait longest, as many as go together."""
        parts: list[_Part[Computed]] = []
        rows = 0
        while self._waiting and (not parts or rows + len(self._waiting[0].features) <= self._most_rows):
            part = self._waiting.popleft()
            if part.cancelled.is_set():
                part.is_over = True
            else:
                parts.append(part)
                rows += len(part.features)
        if len(parts) > 1 and self._are_computed_joined(parts):
            return
        for part in parts:  # alone, where they failed together: nobody hears of what is wrong with another's rows
            self._compute_alone(part)

    def _are_computed_joined(self, parts: list[_Part[Computed]]) -> bool:
        import pandas as pd

        try:
            computed = self._compute(pd.concat([one.features for one in parts], ignore_index=True))
        except Exception:
            return False
        start = 0
        for part in parts:
            end = start + len(part.features)
            part.computed, part.is_over = computed[start:end], True
            start = end
        return True

    def _compute_alone(self, part: _Part[Computed]) -> None:
        try:
            part.computed = self._compute(part.features)
        except Exception as error:
            part.error = error
        part.is_over = True


class _Part(Generic[Computed]):
    """The rows of one call, and what came of them."""

    def __init__(self, features: pd.DataFrame, cancelled: threading.Event) -> None:
        self.features, self.cancelled = features, cancelled
        self.computed: Computed | None = None
        self.error: Exception | None = None
        self.is_over = False
