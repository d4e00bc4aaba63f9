"""Which rows each model of a candidate learns from, and on which it is checked; the same for all candidates.

up to 50,000 rows    5 folds: each row checks one model, and the models answer together. Where validation rows were
                     held out by us they are the last fold: one model did not see them, and candidates are measured by
                     it; nothing of it goes by these rows, nor does anything of the search
more                 one model, checked on a tenth of the training rows
more than 100 MB     the same in stages: a ninth of the rows, a third, all; Hyperband stops the weak in between
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gyropilot.problems.tabular.hpo.fold_models import Target

Places = npt.NDArray[np.int64]

FOLDS = 5
MOST_FOLDED_ROWS = 50_000
STAGED_ABOVE_BYTES = 100 * 10**6
_STAGES = (1, 3, 9)
_CHECKED_SHARE, _MOST_CHECKED_ROWS = 0.1, 50_000


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One training of a model."""

    number: int
    """From 1."""
    train: Places
    """Numbers of the rows it learns from."""
    check: Places
    """Numbers of the rows it is checked on, none of the former."""
    replaces: bool
    """Whether its model takes the place of the stage's before, rather than to stand beside it."""
    is_measured: bool = False
    """Whether candidates are measured on its check rows: then nothing of its model may be chosen by them."""


def stages(target: Target, *, classes: int, size_bytes: int, validation_rows: int = 0) -> list[Stage]:
    """Give the stages of a candidate, in order.

    Args:
        target: [row], class numbers, or numbers.
        classes: their number, each of which is dealt evenly; 0: a regression.
        size_bytes: of the job's data as it came.
        validation_rows: how many of the rows, the last ones, were held out for validation: they are the last fold, and
            the models of the others learn from them. There are none where candidates have no folds.
    """
    rows, training = len(target), len(target) - validation_rows
    if is_folded(training):
        return _folds(target, classes, validation_rows)
    dealt = _dealt(target, classes)
    every = round(1 / min(_CHECKED_SHARE, _MOST_CHECKED_ROWS / rows))
    check, train = np.sort(dealt[::every]), np.delete(dealt, np.s_[::every])
    all_costs = costs(training, size_bytes=size_bytes, has_validation_rows=False)
    sizes = [len(train) * cost // all_costs[-1] for cost in all_costs]
    return [
        Stage(number=number, train=np.sort(_spread(train, size)), check=check, replaces=True)
        for number, size in enumerate(sizes, start=1)
    ]


def costs(training_rows: int, *, size_bytes: int, has_validation_rows: bool) -> list[int]:
    """Give what training up to each stage takes, the first one counting 1, but for the stage that is measured.

    Args:
        training_rows: number of rows that are for training.
        size_bytes: of the job's data as it came.
        has_validation_rows: whether others were held out of them, which make a fold.
    """
    if is_folded(training_rows):
        return list(range(1, _fold_count(training_rows, has_validation_rows=has_validation_rows) + 1))
    return list(_STAGES) if is_large(size_bytes) else [1]


def is_large(size_bytes: int) -> bool:
    """Say whether candidates of data so large are halved by Hyperband."""
    return size_bytes > STAGED_ABOVE_BYTES


def is_folded(training_rows: int) -> bool:
    """Say whether candidates of so many training rows have folds."""
    return training_rows <= MOST_FOLDED_ROWS


def _folds(target: Target, classes: int, validation_rows: int) -> list[Stage]:
    rows, training = len(target), len(target) - validation_rows
    count = _fold_count(training, has_validation_rows=validation_rows > 0)
    part = np.full(rows, count)
    part[_dealt(target[:training], classes)] = np.arange(training) % count
    dealt = [one for one in range(count + 1) if (part == one).any() and (part != one).any()]
    return [
        Stage(
            number=number,
            train=np.flatnonzero(part != one),
            check=np.flatnonzero(part == one),
            replaces=False,
            is_measured=one == count,
        )
        for number, one in enumerate(dealt, start=1)
    ]


def _fold_count(training: int, *, has_validation_rows: bool) -> int:
    return max(2, min(FOLDS - has_validation_rows, training // 2))


def _dealt(target: Target, classes: int) -> Places:
    """Give the row numbers at random, those of a class together, so that each n-th of them has its share of each."""
    order = np.random.default_rng(0).permutation(len(target))
    return order[np.argsort(target[order], kind="stable")] if classes else order


def _spread(places: Places, count: int) -> Places:
    """Give so many of them, evenly spread."""
    return places[np.linspace(0, len(places) - 1, count).round().astype(np.int64)]
