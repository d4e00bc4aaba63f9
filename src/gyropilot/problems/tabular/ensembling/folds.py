"""Trains the folds of a bagged model side by side, in threads with one thread each; ensembling/fit.py turns it on.

AutoGluon trains folds one after the other, each with all cores, or at the same time by Ray. The first starves on busy
cores, where the threads of one model wait for each other; the second needs a cluster's machinery. The libraries of
boosted trees compute outside the interpreter's lock, so plain threads do.
"""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

from autogluon.core.models.ensemble import bagged_ensemble_model
from autogluon.core.models.ensemble.fold_fitting_strategy import SequentialLocalFoldFittingStrategy
from autogluon.core.utils.exceptions import TimeLimitExceeded

from gyropilot import clock

Foreign = Any
"""A value of AutoGluon's, which has no types."""
_THREADED = {"LGBModel", "CatBoostModel", "XGBoostModel"}
"""Classes of models that compute outside the interpreter's lock and draw no number from a generator of the process."""
_SHARES = {
    "LGBModel": 0.3,
    "XGBoostModel": 0.3,
    "CatBoostModel": 0.45,
    "TabularNeuralNetTorchModel": 0.35,
    "NNFastAiTabularModel": 0.35,
}
"""Of a fit's time, that one model of a kind may take: models of other kinds are worth more than its last steps."""


@contextmanager
def side_by_side(cores: int, is_over: Callable[[], bool], seconds: float | None) -> Iterator[None]:
    """Have every bagged model that is fitted within train up to `cores` folds at a time.

    Args:
        cores: threads, at least 1.
        is_over: says that no further fold is to begin.
        seconds: of the whole fit, of which a slow kind of model gets no more than its share; None: no bound.
    """

    class Strategy(_SideBySide):
        workers = cores
        ended = staticmethod(is_over)
        fit_seconds = seconds

    before = bagged_ensemble_model.SequentialLocalFoldFittingStrategy
    bagged_ensemble_model.SequentialLocalFoldFittingStrategy = Strategy
    try:
        yield
    finally:
        bagged_ensemble_model.SequentialLocalFoldFittingStrategy = before


class _SideBySide(SequentialLocalFoldFittingStrategy):  # type: ignore[misc] # the library has no types
    """AutoGluon's strategy of folds in this process, but for their order in time."""

    workers = 1
    ended: Callable[[], bool] = staticmethod(lambda: False)
    fit_seconds: float | None = None
    time_limit: float | None

    def __init__(self, **arguments: Foreign) -> None:
        super().__init__(**arguments)
        self._wanted = self.time_limit
        share = _SHARES.get(type(self.model_base).__name__)
        if share is not None and self.fit_seconds is not None and self.time_limit is not None:
            self._wanted = min(self.time_limit, share * self.fit_seconds)
        self._began = clock.monotonic()
        self._lock = threading.Lock()
        self._finished = 0

    def after_all_folds_scheduled(self) -> None:
        """Fit the folds that were scheduled."""
        is_threaded = type(self.model_base).__name__ in _THREADED
        at_once = min(self.workers, len(self.jobs)) if is_threaded else 1
        with ThreadPoolExecutor(at_once) as pool:
            running = [pool.submit(self._fit_one, job, at_once) for job in self.jobs]
            done, left = wait(running, return_when=FIRST_EXCEPTION)
            for one in left:
                one.cancel()
        for one in done:
            one.result()

    def _fit_one(self, job: dict[str, Foreign], at_once: int) -> None:
        if self.ended():
            raise TimeLimitExceeded
        limit = self._seconds_for_a_fold(len(self.jobs), at_once)
        model = self._fit(copy.copy(self.model_base), _now(), limit, job, self.model_base_kwargs)
        # the library's own look at the clock supposes that folds follow each other
        model, predicted = self._predict_oof(model, {**job, "is_last_fold": True})
        with self._lock:
            self._update_bagged_ensemble(model, predicted, job)
            self._finished += 1

    def _seconds_for_a_fold(self, folds: int, at_once: int) -> float | None:
        """Share out what the model wants among its folds; late ones may take more, for the model needs all."""
        if self.time_limit is None or self._wanted is None:
            return None
        elapsed = clock.monotonic() - self._began
        if elapsed >= self.time_limit:
            raise TimeLimitExceeded
        waves = math.ceil((folds - self._finished) / at_once)
        least = self._wanted / (2 * math.ceil(folds / at_once))
        seconds = min(max((self._wanted - elapsed) / waves, least), (self.time_limit - elapsed) / waves)
        return float(seconds * self.time_limit_fold_ratio)


def _now() -> float:
    """Give the library's kind of moment: it takes time.time() before and after."""
    return clock.now().timestamp()
