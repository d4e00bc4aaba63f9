"""Predicts the rows of calls that wait for each other in one go; a few rows take a model hardly longer than one.

calls     a --- predicts ---|      a's rows alone
          b    ... waits ...|-- predicts b, c, d --|
          c      ... waits ........................|
          d        ... waits ......................|
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    Predict = Callable[[pd.DataFrame], npt.NDArray[np.float64]]


class Together:
    """One model's way to predict, from many threads at once; it is asked from one at a time."""

    def __init__(self, predict: Predict, *, most_rows: int) -> None:
        """`predict` gives an array whose first axis is that of the rows; `most_rows` are joined, one call excepted."""
        self._predict, self._most_rows = predict, most_rows
        self._waiting: deque[_Part] = deque()
        self._turn = threading.Lock()

    def __call__(self, features: pd.DataFrame, cancelled: threading.Event) -> npt.NDArray[np.float64] | None:
        """Predict some rows; None where `cancelled` was set before it was their turn. Raises what `predict` raises."""
        part = _Part(features, cancelled)
        self._waiting.append(part)  # seen by whoever has the turn, or by this thread once it has
        with self._turn:
            while not part.is_over:
                self._predict_next()
        if part.error is not None:
            raise part.error
        return part.predicted

    def _predict_next(self) -> None:
        """Predict those who wait longest, as many as go together."""
        parts: list[_Part] = []
        rows = 0
        while self._waiting and (not parts or rows + len(self._waiting[0].features) <= self._most_rows):
            part = self._waiting.popleft()
            if part.cancelled.is_set():
                part.is_over = True
            else:
                parts.append(part)
                rows += len(part.features)
        if len(parts) > 1 and self._are_predicted_joined(parts):
            return
        for part in parts:  # alone, where they failed together: nobody hears of what is wrong with another's rows
            self._predict_alone(part)

    def _are_predicted_joined(self, parts: list[_Part]) -> bool:
        import pandas as pd

        try:
            predicted = self._predict(pd.concat([one.features for one in parts], ignore_index=True))
        except Exception:
            return False
        start = 0
        for part in parts:
            end = start + len(part.features)
            part.predicted, part.is_over = predicted[start:end], True
            start = end
        return True

    def _predict_alone(self, part: _Part) -> None:
        try:
            part.predicted = self._predict(part.features)
        except Exception as error:
            part.error = error
        part.is_over = True


class _Part:
    """The rows of one call, and what came of them."""

    def __init__(self, features: pd.DataFrame, cancelled: threading.Event) -> None:
        self.features, self.cancelled = features, cancelled
        self.predicted: npt.NDArray[np.float64] | None = None
        self.error: Exception | None = None
        self.is_over = False
