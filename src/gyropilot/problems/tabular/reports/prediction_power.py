"""How well each column by itself tells the target, from 0 (not at all) to 1 (wholly), for the exploration notebook.

A row's target is guessed from rows of other folds with the same value, or the same twentieth of the values of a number
or date. Of a regression the power is R2 of these guesses, of two classes twice the AUC less 1, of more classes the mean
of that over the classes, each as much as it has rows; never below 0. Text is not judged by its whole values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gyropilot.problems.tabular.columns import Schema

if TYPE_CHECKING:
    import pandas as pd

    from gyropilot.problems.tabular.tables import Frame

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Target = Floats | Codes
_FOLDS, _BINS, _LEVELS, _SEED = 3, 20, 50, 7919
_PRIOR_ROWS = 5.0
"""So many rows of the mean target are added to those of a value, so that rare values guess carefully."""


def prediction_powers(frame: Frame, schema: Schema) -> dict[str, float | None]:
    """Give the power of each feature; None for ignored ones and for text.

    Args:
        frame: rows of the job.
        schema: the columns.
    """
    fold = np.random.default_rng(_SEED).integers(0, _FOLDS, len(frame.target))
    powers: dict[str, float | None] = {}
    for one in schema.features:
        if one.is_ignored or one.kind in ("text", "sequence"):
            powers[one.name] = None
            continue
        codes = _codes(frame.features[one.name], is_ordered=one.kind in ("numeric", "datetime"))
        cells = _Cells(fold, codes)
        powers[one.name] = (
            _of_regression(cells, frame.target) if schema.is_regression else _of_classes(cells, frame.target)
        )
    return powers


class _Cells:
    """Rows counted by fold and value: [fold, value]."""

    def __init__(self, fold: Codes, codes: Codes) -> None:
        self._values = int(codes.max()) + 1
        self._places = fold * self._values + codes
        self.rows = self.summed(None)

    def summed(self, amounts: Floats | None) -> Floats:
        """Give the sum of `amounts` [row] in each cell; of None the number of rows."""
        found = np.bincount(self._places, weights=amounts, minlength=_FOLDS * self._values)
        return np.asarray(found, dtype=np.float64).reshape(_FOLDS, self._values)

    def guesses(self, sums: Floats) -> Floats:
        """Give the mean of the other folds' rows of the same value, for each cell."""
        prior = sums.sum() / self.rows.sum()
        others, rows = sums.sum(axis=0) - sums, self.rows.sum(axis=0) - self.rows
        return np.asarray((others + _PRIOR_ROWS * prior) / (rows + _PRIOR_ROWS), dtype=np.float64)


def _of_regression(cells: _Cells, target: Target) -> float:
    spread = float(((target - target.mean()) ** 2).sum())
    if not spread:
        return 0.0
    centred = target - target.mean()
    sums = cells.summed(centred)
    guesses = cells.guesses(sums)
    missed = (centred**2).sum() - 2 * (guesses * sums).sum() + (guesses**2 * cells.rows).sum()
    return float(np.clip(1 - missed / spread, 0, 1))


def _of_classes(cells: _Cells, target: Target) -> float:
    counts = np.bincount(target)
    classes = [1] if len(counts) == 2 else np.argsort(-counts, kind="stable")[:10].tolist()
    powers, weights = [], []
    for number in classes:
        if 0 < counts[number] < len(target):
            hits = cells.summed((target == number).astype(np.float64))
            powers.append(2 * _auc(cells.guesses(hits), hits, cells.rows - hits) - 1)
            weights.append(counts[number])
    return float(np.clip(np.average(powers, weights=weights), 0, 1)) if powers else 0.0


def _auc(scores: Floats, positive: Floats, negative: Floats) -> float:
    """Give the area under the ROC curve, as the mean over the folds, of cells that hold so many rows of either kind.

    Each fold is ranked by itself: guesses in one are higher where it has few of the class, as the others have more.
    """
    areas = []
    for guessed, hits, others in zip(scores, positive, negative, strict=True):
        if not hits.sum() or not others.sum():
            continue
        _, place = np.unique(guessed, return_inverse=True)
        hits, others = np.bincount(place, weights=hits), np.bincount(place, weights=others)
        below = np.cumsum(others) - others
        areas.append(float((hits * (below + others / 2)).sum() / (hits.sum() * others.sum())))
    return float(np.mean(areas)) if areas else 0.5


def _codes(values: pd.Series, *, is_ordered: bool) -> Codes:
    """Give the place of each row's value among at most so many; missing ones have a place of their own."""
    import pandas as pd

    missing = values.isna().to_numpy()
    if is_ordered:
        numbers = values.astype("int64" if values.dtype.kind == "M" else "float64").to_numpy().astype(np.float64)
        if missing.all():
            return np.zeros(len(values), dtype=np.int64)
        edges = np.unique(np.quantile(numbers[~missing], np.linspace(0, 1, _BINS + 1)[1:-1]))
        codes = np.searchsorted(edges, numbers, side="right") + 1
        return np.where(missing, 0, codes)
    frequent = values.value_counts().index[:_LEVELS]
    return np.asarray(np.where(missing, 0, pd.Index(frequent).get_indexer(values) + 2), dtype=np.int64)
