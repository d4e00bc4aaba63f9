"""Hears from AutoGluon as it trains: tells progress, and ends training on a stop or when the service goes down."""

from __future__ import annotations

from typing import Any

from autogluon.core.callbacks import AbstractCallback

from gyropilot import clock
from gyropilot.problems.contract import Reporter

Foreign = Any
"""A value of AutoGluon's, which has no types."""


class Listener(AbstractCallback):  # type: ignore[misc] # the library has no types
    """One fit's callback; AutoGluon calls it before and after each of its models."""

    def __init__(self, reporter: Reporter, models: int, seconds: float | None) -> None:
        super().__init__()
        self._reporter, self._total = reporter, models
        self._deadline = None if seconds is None else clock.monotonic() + seconds
        self._tried: set[str] = set()

    def __getstate__(self) -> dict[str, Foreign]:
        """Leave all behind when AutoGluon saves its trainer, this one within: a reporter is of one process."""
        return {}

    def is_over(self) -> bool:
        """Say whether nothing more is to be trained."""
        return self._reporter.stop_requested() or self._reporter.hand_back_requested()

    def _before_model_fit(self, trainer: Foreign, model: Foreign, **_: Foreign) -> tuple[bool, bool]:
        self._tell()
        self._tried.add(str(model.name))
        return self.is_over(), False

    def _after_model_fit(self, trainer: Foreign, **_: Foreign) -> bool:
        return self.is_over()

    def _tell(self) -> None:
        left = None if self._deadline is None else max(0.0, self._deadline - clock.monotonic())
        done = min(len(self._tried), self._total)
        values = {} if left is None else {"seconds_left": left}
        self._reporter.progress("training", done=done, total=self._total, unit="models", values=values)
