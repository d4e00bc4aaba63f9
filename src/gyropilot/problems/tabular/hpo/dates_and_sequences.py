"""Turns dates and sequences of numbers into plain numbers; runs before the steps that treat numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

Floats = npt.NDArray[np.float64]

DATE_PARTS = ("days", "year", "month", "day", "weekday", "day_of_year", "hour", "minute")
SEQUENCE_PARTS = (
    "count",
    "mean",
    "deviation",
    "least",
    "most",
    "median",
    "quarter",
    "three_quarters",
    "first",
    "last",
    "slope",
    "mean_step",
    "turns",
    "self_likeness",
    "energy",
)


class DateParts(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Gives DATE_PARTS of each column: [row, column x part], NaN where there is no date."""

    def fit(self, features: pd.DataFrame, target: object = None) -> DateParts:
        """Learn nothing."""
        self.is_fitted_ = True
        return self

    def transform(self, features: pd.DataFrame) -> Floats:
        """Give the parts."""
        return np.concatenate([_date_parts(features[name]) for name in features.columns], axis=1)


class SequenceParts(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Gives SEQUENCE_PARTS of strings of numbers with commas between: [row, column x part], NaN where there is none."""

    def fit(self, features: pd.DataFrame, target: object = None) -> SequenceParts:
        """Learn nothing."""
        self.is_fitted_ = True
        return self

    def transform(self, features: pd.DataFrame) -> Floats:
        """Give the parts."""
        columns = [[_sequence_parts(text) for text in features[name]] for name in features.columns]
        parts = [np.asarray(rows, dtype=np.float64).reshape(-1, len(SEQUENCE_PARTS)) for rows in columns]
        return np.concatenate(parts, axis=1)


def _date_parts(column: pd.Series) -> Floats:
    dates = column.dt
    days = (column - pd.Timestamp(0)).dt.total_seconds() / 86_400
    parts = (days, dates.year, dates.month, dates.day, dates.weekday, dates.dayofyear, dates.hour, dates.minute)
    return np.stack([part.to_numpy(dtype=np.float64, na_value=np.nan) for part in parts], axis=1)


def _sequence_parts(text: object) -> list[float]:
    values = _numbers(text)
    if not len(values):
        return [0.0, *[float("nan")] * (len(SEQUENCE_PARTS) - 1)]
    steps, centred = np.diff(values), values - values.mean()
    places = np.arange(len(values)) - (len(values) - 1) / 2
    spread = float((centred**2).sum())
    return [
        float(len(values)),
        float(values.mean()),
        float(values.std()),
        float(values.min()),
        float(values.max()),
        *(float(one) for one in np.quantile(values, (0.5, 0.25, 0.75))),
        float(values[0]),
        float(values[-1]),
        float((places * centred).sum() / (places**2).sum()) if len(values) > 1 else 0.0,
        float(np.abs(steps).mean()) if len(steps) else 0.0,
        float((np.diff(np.sign(steps)) != 0).sum()) if len(steps) > 1 else 0.0,
        float((centred[1:] * centred[:-1]).sum() / spread) if spread > 0 else 0.0,
        float((values**2).mean()),
    ]


def _numbers(text: object) -> Floats:
    """Give the finite numbers of a sequence; what is no number among them is left out."""
    if not isinstance(text, str):
        return np.empty(0)
    numbers = (_number(part) for part in text.strip(" []()").split(","))
    return np.asarray([one for one in numbers if one is not None and np.isfinite(one)], dtype=np.float64)


def _number(part: str) -> float | None:
    try:
        return float(np.clip(float(part), -1e150, 1e150)) if part.strip() else None
    except ValueError:
        return None
