"""A model as it answers to rows that some of its folds were trained on: by the folds that were not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from gyropilot.problems.tabular.columns import Schema
from gyropilot.problems.tabular.models import Model
from gyropilot.problems.tabular.tables import Frame

_MARK = "row of known prediction"
Asked = Callable[[pd.DataFrame], npt.NDArray[np.float64]]


class Unseen:
    """Gives what is known of marked rows, and asks the whole model for all others and for single rows."""

    def __init__(self, model: Model, known: npt.NDArray[np.float64]) -> None:
        """Take the whole model and `known`: [row] or [row, class]; NaN where no fold left out the row."""
        self._model, self._known = model, known

    @property
    def schema(self) -> Schema:
        """The columns it was trained on."""
        return self._model.schema

    @property
    def threshold(self) -> float:
        """Of the probability of the positive class."""
        return self._model.threshold

    def marked(self, frame: Frame) -> Frame:
        """Give the frame of the known rows, in their order, with a mark by which its rows are known again."""
        features = frame.features.set_axis(pd.RangeIndex(len(frame.features), name=_MARK), axis=0)
        return replace(frame, features=features)

    def predict_numbers(self, features: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Estimate the target: [row]."""
        if not _is_known(features):
            return self._model.predict_numbers(features)
        return self._filled(features, self._model.predict_numbers)

    def predict_probabilities(self, features: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Give how likely each class is: [row, class]."""
        if not _is_known(features):
            return self._model.predict_probabilities(features)
        return self._filled(features, self._model.predict_probabilities)

    def _filled(self, features: pd.DataFrame, ask: Asked) -> npt.NDArray[np.float64]:
        values: npt.NDArray[np.float64] = self._known[features.index.to_numpy()]
        missing = np.isnan(values).reshape(len(values), -1).any(axis=1)
        if missing.any():
            values[missing] = ask(features[missing])
        return values


def _is_known(features: pd.DataFrame) -> bool:
    # one row by itself is asked to take the time of an answer
    return features.index.name == _MARK and len(features) > 1
