"""Encodes categories by the mean of the target, such that no training row's own target tells of itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin

from gyropilot.problems.tabular.hpo.fold_models import Floats

_PARTS = 5
_COMMON_ROWS = 50
"""From so many rows on a category's mean hardly tells of one of them: training rows have it as it is. Means of parts
of the rows are as many values a category, between which those of other categories lie: trees split there, and would
take the mean of all rows, which later rows have, for another category (diamonds: R2 0.92 instead of 0.98)."""
_PRIOR_ROWS = 10.0
"""With how many rows of the overall mean a category's own rows are mixed."""
Strings = npt.NDArray[np.object_]


class CategoryMeans(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Gives for each column the target's mean under its category, of more than two classes one mean a class.

    `fit_transform` encodes rows of rare categories, a fifth of all rows at a time, by the means of the others;
    `transform` goes by all rows. A category that was not seen has the overall mean.
    """

    def __init__(self, classes: int, seed: int) -> None:
        self.classes = classes
        self.seed = seed

    def fit(self, categories: Strings, target: npt.NDArray[Any]) -> CategoryMeans:
        """Learn the means of [row, column] under [row]."""
        wanted = self._wanted(target)
        self.overall_ = wanted.mean(axis=0)
        self.means_ = [self._means(column, wanted) for column in categories.T]
        return self

    def fit_transform(self, categories: Strings, target: npt.NDArray[Any]) -> Floats:
        """Learn the means and give the rows encoded by the means of other rows: [row, column x mean]."""
        self.fit(categories, target)
        wanted = self._wanted(target)
        part = np.random.default_rng(self.seed).permutation(len(target)) % _PARTS
        encoded = self.transform(categories)
        is_rare = np.repeat(_row_counts(categories) < _COMMON_ROWS, wanted.shape[1], axis=1)
        for number in range(_PARTS):
            own, others = part == number, part != number
            if own.any() and others.any():
                means = [self._means(column[others], wanted[others]) for column in categories.T]
                encoded[own] = np.where(is_rare[own], self._encoded(categories[own], means), encoded[own])
        return encoded

    def transform(self, categories: Strings) -> Floats:
        """Give [row, column x mean]."""
        return self._encoded(categories, self.means_)

    def _wanted(self, target: npt.NDArray[Any]) -> Floats:
        """Give what is averaged: [row, mean]; of two classes whether it is the second, of more whether it is each."""
        if self.classes <= 2:
            return np.asarray(target, dtype=np.float64)[:, None]
        return np.eye(self.classes)[np.asarray(target, dtype=np.int64)]

    def _means(self, column: Strings, wanted: Floats) -> dict[str, Floats]:
        names, places = np.unique(column.astype(str), return_inverse=True)
        sums = np.stack([np.bincount(places, weights=one, minlength=len(names)) for one in wanted.T], axis=1)
        counts = np.bincount(places, minlength=len(names))[:, None]
        means = (sums + _PRIOR_ROWS * self.overall_) / (counts + _PRIOR_ROWS)
        return dict(zip(names.tolist(), means, strict=True))

    def _encoded(self, categories: Strings, means: list[dict[str, Floats]]) -> Floats:
        columns = [
            np.asarray([known.get(name, self.overall_) for name in column], dtype=np.float64)
            for column, known in zip(categories.T, means, strict=True)
        ]
        return np.concatenate(columns, axis=1)


def _row_counts(categories: Strings) -> npt.NDArray[np.int64]:
    """Give how many rows have each row's category: [row, column]."""
    columns = []
    for column in categories.T:
        _, places, counts = np.unique(column.astype(str), return_inverse=True, return_counts=True)
        columns.append(counts[places])
    return np.stack(columns, axis=1).astype(np.int64)
