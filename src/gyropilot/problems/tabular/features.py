"""Settles the features of a job: which columns, of what kind each is, and what stands out in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from gyropilot.data import csv_files
from gyropilot.errors import Fault, InvalidData
from gyropilot.problems.contract import Json
from gyropilot.problems.tabular import kinds
from gyropilot.problems.tabular.column_statistics import statistics
from gyropilot.problems.tabular.columns import Column
from gyropilot.problems.tabular.feature_specification import FeatureSpecification
from gyropilot.problems.tabular.findings import Findings, columns_of
from gyropilot.problems.tabular.kinds import ColumnFacts
from gyropilot.problems.tabular.request import TrainingMode
from gyropilot.problems.tabular.usable_rows import Part

Arrow = Any
"""A value of pyarrow's, which ships no types."""
MAX_FEATURES = 2000
MUCH_MISSING = 0.5
_INDEX_NAME = re.compile(
    r"unnamed: \d+|__index_level_\d+__|index|rownames?|(.*[ _-])?(id|row|nr|no|number|key)|.*[a-z]ID"
)
_LEAKS_ROWS = 100
_LEAK_ROWS = 20_000
_LEAK_CORRELATION = 0.9999


@dataclass(frozen=True, kw_only=True)
class Features:
    """The features of a job."""

    columns: tuple[Column, ...]
    """In the order of the training channel's header."""
    described: list[dict[str, Json]]
    """What each is and holds, in the training rows."""


def settle(
    training: Part,
    *,
    target: str,
    weight: str | None,
    is_regression: bool,
    said: FeatureSpecification,
    mode: TrainingMode,
    found: Findings,
    note: Callable[[int, int], None],
) -> Features:
    """Look at each column of the training rows.

    Args:
        training: the rows.
        target: name of the target's column.
        weight: name of the weights' column.
        is_regression: whether the target is an amount.
        said: what the user said of the columns.
        mode: sequences are of hyperparameter tuning only.
        found: hears of what stands out.
        note: hears how many columns of how many are done.

    Raises:
        InvalidData: there are none or too many, or one is not of the kind that the user said.
    """
    names = _names(training, target, weight, said)
    seen: list[_Seen] = []
    for number, name in enumerate(names):
        seen.append(_look(name, training, said, is_regression=is_regression, mode=mode))
        note(number + 1, len(names))
    columns, facts = [one.column for one in seen], [one.fact for one in seen]
    _check_said(columns, facts, said, training)
    _check_usable(columns, facts, training)
    _note_columns(columns, facts, found)
    leaking = [one.column.name for one in seen if one.leaks]
    if leaking:
        message = f"{columns_of(leaking)} alone tells the target of every row; is it known when you predict?"
        found.add("tells_target", "warning", message, count=len(leaking), columns=leaking)
    return Features(columns=tuple(columns), described=[one.described for one in seen])


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """A column that was looked at."""

    column: Column
    fact: ColumnFacts
    described: dict[str, Json]
    leaks: bool


def _look(name: str, training: Part, said: FeatureSpecification, *, is_regression: bool, mode: TrainingMode) -> _Seen:
    fields = training.spool.column(name, training.keep)
    fact = kinds.look(fields, allow_sequence=mode == "HYPERPARAMETER_TUNING", declared=said.kinds.get(name))
    is_ignored = name not in said.kinds and _is_identifier(name, fact, fields, training)
    column = Column(
        name=name, kind=fact.kind, day_first=fact.day_first, takes_strays=fact.has_foreign, is_ignored=is_ignored
    )
    values = kinds.typed(fields, fact.kind, day_first=fact.day_first)
    return _Seen(
        column=column,
        fact=fact,
        described=_described(column, fact) | statistics(values, fact.kind),
        leaks=not is_ignored and _leaks(values, fact, training.target, is_regression=is_regression),
    )


def _names(training: Part, target: str, weight: str | None, said: FeatureSpecification) -> list[str]:
    aside = {target, weight}
    names = [name for name in training.spool.columns if name not in aside]
    where = f"{training.spool.starts[0][1]}: header"
    if said.names is not None:
        names = [name for name in names if name in said.names]
    if not names:
        raise InvalidData(
            where=where,
            found=list(training.spool.columns),
            problem="no column is left to predict from",
            fix="give columns beside the target and the weight",
        )
    if len(names) > MAX_FEATURES:
        raise InvalidData(
            where=where,
            found=f"{len(names)} columns to predict from",
            problem=f"more than {MAX_FEATURES}",
            fix="name those that matter as FeatureAttributeNames in the file that FeatureSpecificationS3Uri names",
        )
    return names


def _described(column: Column, fact: ColumnFacts) -> dict[str, Json]:
    return {
        "name": column.name,
        "kind": column.kind,
        "rows": fact.rows,
        "missing": fact.missing,
        "unique": fact.unique,
        "stray": fact.stray,
        "is_ignored": column.is_ignored,
    }


def _is_identifier(name: str, fact: ColumnFacts, fields: Arrow, training: Part) -> bool:
    """Say whether a column tells rows apart and nothing else.

    Names of rows are such, each row's its own; so are whole numbers that count all rows of the table in its order, or
    that are each row's own and whose column is named as an index.
    """
    if not fact.is_distinct:
        return False
    if fact.kind == "categorical":
        return True
    if fact.kind != "numeric":
        return False
    values = _numbers(fields)
    if np.isnan(values).any() or (values != np.floor(values)).any():
        return False
    if _INDEX_NAME.fullmatch(name) or _INDEX_NAME.fullmatch(name.lower()):
        return True
    # The training rows are asked first: all of the table is read for few columns.
    counts = _counts(values, training.rows)
    return counts and _counts(_numbers(training.spool.column(name)), np.arange(training.spool.rows))


def _numbers(fields: Arrow) -> npt.NDArray[np.float64]:
    return np.asarray(kinds.numbers(kinds.cleaned(fields)).to_numpy(zero_copy_only=False), dtype=np.float64)


def _counts(values: npt.NDArray[np.float64], rows: npt.NDArray[np.int64]) -> bool:
    """Say whether each value is its row's number, from 0 or from 1."""
    ahead = np.unique(values - rows)
    return len(ahead) == 1 and ahead[0] in (0.0, 1.0)


def _check_said(
    columns: Sequence[Column], facts: Sequence[ColumnFacts], said: FeatureSpecification, part: Part
) -> None:
    faults = [
        Fault(
            where=f"{part.spool.starts[0][1]}: column {column.name!r}",
            found=csv_files.shown(fact.strays),
            problem=f"is said to be {column.kind} by the feature specification, and no field is",
            fix="leave it out of FeatureDataTypes, or correct the column",
        )
        for column, fact in zip(columns, facts, strict=True)
        if column.name in said.kinds and fact.stray and fact.stray == fact.rows - fact.missing
    ]
    if faults:
        raise InvalidData.of(faults[:20])


def _check_usable(columns: Sequence[Column], facts: Sequence[ColumnFacts], part: Part) -> None:
    if any(fact.unique > (fact.missing == 0) and not one.is_ignored for one, fact in zip(columns, facts, strict=True)):
        return
    raise InvalidData(
        where=f"{part.spool.starts[0][1]}: header",
        found=csv_files.shown([one.name for one in columns]),
        problem="no column tells one row from another but for row indices: they are empty, or hold one value",
        fix="give columns to predict from",
    )


def _note_columns(columns: Sequence[Column], facts: Sequence[ColumnFacts], found: Findings) -> None:
    pairs = list(zip(columns, facts, strict=True))
    groups: list[tuple[str, list[str], str]] = [
        (
            "identifier",
            [one.name for one, _ in pairs if one.is_ignored],
            "{columns} only tell{s} rows apart, as an index does, and {is_are} not learnt from",
        ),
        (
            "all_missing",
            [one.name for one, fact in pairs if fact.missing == fact.rows],
            "{columns} {is_are} empty in all training rows",
        ),
        (
            "constant",
            [one.name for one, fact in pairs if fact.unique == 1 and not fact.missing],
            "{columns} hold{s} the same value in all training rows",
        ),
        (
            "much_missing",
            [one.name for one, fact in pairs if MUCH_MISSING * fact.rows < fact.missing < fact.rows],
            f"{{columns}} {{is_are}} missing in more than {MUCH_MISSING:.0%} of the training rows",
        ),
    ]
    for kind, names, words in groups:
        if names:
            forms = {"s": "s", "is_are": "is"} if len(names) == 1 else {"s": "", "is_are": "are"}
            found.add(kind, "note", words.format(columns=columns_of(names), **forms), count=len(names), columns=names)
    for one, fact in pairs:
        if fact.stray:
            shown = ", ".join(map(repr, csv_files.shown(fact.strays)))
            is_are, they_are = ("is", "it is") if fact.stray == 1 else ("are", "they are")
            found.add(
                "stray_value",
                "warning",
                f"{columns_of([one.name])} is {one.kind}, and {fact.stray} of its fields {is_are} not ({shown}):"
                f" {they_are} read as missing",
                count=fact.stray,
                columns=[one.name],
            )


def _leaks(values: Arrow, fact: ColumnFacts, target: npt.NDArray[np.float64], *, is_regression: bool) -> bool:
    """Say whether the column alone tells the target: a number that goes with it, or values of one class each."""
    step = max(1, len(target) // _LEAK_ROWS)
    values, target = values[::step] if step > 1 else values, target[::step]
    if len(target) < _LEAKS_ROWS or fact.missing > 0.1 * fact.rows or fact.unique < 2:
        return False
    if fact.kind == "numeric":
        numbers = np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)
        known = ~np.isnan(numbers)
        numbers, target = numbers[known], target[known]
        if len(np.unique(numbers)) < 2 or len(np.unique(target)) < 2:
            return False
        if is_regression:
            return bool(abs(np.corrcoef(numbers, target)[0, 1]) > _LEAK_CORRELATION)
        return _are_pure(numbers, target) if fact.unique < 0.2 * fact.rows else _are_parted(numbers, target)
    if fact.kind != "categorical" or is_regression or fact.unique >= 0.2 * fact.rows:
        return False
    codes = pc.fill_null(values.dictionary_encode().indices, -1)
    return _are_pure(np.asarray(codes, dtype=np.float64), target)


def _are_pure(values: npt.NDArray[np.float64], target: npt.NDArray[np.float64]) -> bool:
    """Say whether all rows with the same value are of the same class, though there are several."""
    pairs = np.unique(np.stack([values, target], axis=1), axis=0)
    return len(pairs) == len(np.unique(values)) and len(np.unique(target)) > 1


def _are_parted(values: npt.NDArray[np.float64], target: npt.NDArray[np.float64]) -> bool:
    """Say whether each class has a stretch of the numbers to itself."""
    ordered = target[np.argsort(values, kind="stable")]
    return int(np.sum(ordered[1:] != ordered[:-1])) == len(np.unique(target)) - 1
