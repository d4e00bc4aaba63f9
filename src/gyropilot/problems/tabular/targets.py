"""Reads the target: whether it is a class or a number, which classes there are, and which rows have none.

A target is bad where it is missing, infinite or not a number, and, in a regression, where it is no number: such rows
are left out and counted. Classes are told apart by their text, without the spaces around it; where all are numbers, by
their value, so that 1 and 1.0 are one class, named as it is written most often.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gyropilot.data import csv_files
from gyropilot.errors import InvalidData
from gyropilot.problems.tabular import kinds
from gyropilot.problems.tabular.columns import ProblemType

Arrow = Any
"""A value of pyarrow's, which ships no types."""
MAX_CLASSES = 2000
SURE_CLASSES = 10
"""So many distinct whole numbers, or fewer, are classes where each stands in SURE_ROWS rows or more in the mean."""
SURE_ROWS = 10
SURE_NUMBERS = 50
"""More distinct whole numbers than these are amounts."""
_LEAST_NUMBERS = 20
"""So many distinct numbers with fractions, or more, are amounts."""
_NEGATIVE = {"no", "n", "false", "false.", "f", "negative", "neg", "off", "never", "absent"}
_POSITIVE = {"yes", "y", "true", "true.", "t", "positive", "pos", "on", "present"}
_FIX = "set ProblemType, and AutoMLJobObjective with it"
_INFINITE = ["inf", "-inf", "+inf", "infinity", "-infinity", "+infinity"]
_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class Target:
    """A target column, read."""

    problem_type: ProblemType
    labels: tuple[str, ...]
    """Empty for regression."""
    values: npt.NDArray[np.float64]
    """[row]: class numbers or numbers; NaN where the target is bad."""
    bad: Mapping[str, int]
    """Rows without a usable target by what is wrong: `missing`, `infinite`, `no number`."""

    @property
    def usable(self) -> npt.NDArray[np.bool_]:
        """[row]: whether it has a target."""
        return np.asarray(~np.isnan(self.values), dtype=np.bool_)


def read(fields: Arrow, problem_type: ProblemType | None, *, where: str) -> Target:
    """Read the training channel's target.

    Args:
        fields: [row], the string fields of the column.
        problem_type: as the user named it; None: it is inferred.
        where: what errors call the column.

    Raises:
        InvalidData: no row has a target, all have the same, the values do not fit the problem type, or do not tell it.
    """
    cleaned = kinds.cleaned(fields)
    present, is_infinite = _present(cleaned)
    if present.null_count == len(present):
        raise InvalidData(
            where=where,
            found=f"{len(fields)} rows",
            problem="no row has a target: all are blank or stand for nothing",
            fix="fill the column, or name another one as TargetAttributeName",
        )
    values = kinds.numbers(present)
    chosen = problem_type or _inferred(present, values, where)
    bad = {"missing": cleaned.null_count, "infinite": is_infinite}
    if chosen == "Regression":
        _check_numbers(present, values, where)
        bad["no number"] = values.null_count - present.null_count
        return Target(problem_type=chosen, labels=(), values=_floats(values), bad=_counted(bad))
    keys = _keys(present, values)
    labels = _labels(keys, chosen, where)
    return Target(problem_type=chosen, labels=labels, values=_numbers_of(keys, labels), bad=_counted(bad))


def read_like(fields: Arrow, training: Target, *, where: str) -> tuple[Target, dict[str, int]]:
    """Read the validation channel's target as the training channel's was read.

    Returns:
        the target, and how many rows have each class that the training rows do not have; they are not usable.

    Raises:
        InvalidData: no row has a target that the training rows know.
    """
    cleaned = kinds.cleaned(fields)
    present, is_infinite = _present(cleaned)
    bad = {"missing": cleaned.null_count, "infinite": is_infinite}
    values = kinds.numbers(present)
    unknown: dict[str, int] = {}
    if training.problem_type == "Regression":
        bad["no number"] = values.null_count - present.null_count
        read_values = _floats(values)
    else:
        keys = _keys_like(present, values, training.labels)
        read_values = _numbers_of(keys, training.labels)
        strange = pc.value_counts(keys.filter(pa.array(np.isnan(read_values))).drop_null())
        unknown = {one["values"]: one["counts"] for one in strange.to_pylist()}
    target = Target(problem_type=training.problem_type, labels=training.labels, values=read_values, bad=_counted(bad))
    if not target.usable.any():
        raise InvalidData(
            where=where,
            found=csv_files.shown(list(unknown)[:_SHOWN]) or f"{len(fields)} rows",
            problem="no row has a target such as the training channel's",
            fix="fill the column, or see that both channels are of one table",
        )
    return target, unknown


def _present(cleaned: Arrow) -> tuple[Arrow, int]:
    """Give the fields with infinities as null, and how many they are."""
    infinite = pc.is_in(pc.utf8_lower(cleaned), value_set=pa.array(_INFINITE, cleaned.type))
    return pc.if_else(infinite, pa.scalar(None, cleaned.type), cleaned), pc.sum(infinite).as_py() or 0


def _inferred(present: Arrow, values: Arrow, where: str) -> ProblemType:
    """Tell the problem type from the values.

    Two distinct values are binary. Text is classes. Of numbers, few whole ones that repeat are classes, many are
    amounts; what lies between is not told.
    """
    rows = len(present) - present.null_count
    numeric = len(values) - values.null_count
    distinct = pc.unique(present.drop_null())
    if numeric < kinds.SURE_SHARE * rows:
        return _classes_of_text(distinct, rows, where)
    numbers = np.unique(np.asarray(values.drop_null()))
    if len(numbers) <= 2 and numeric == rows:
        return "BinaryClassification"
    is_whole = bool(np.all(numbers == np.floor(numbers)))
    mean_rows = numeric / len(numbers)
    if not is_whole and (len(numbers) >= _LEAST_NUMBERS or mean_rows < 2):
        return "Regression"
    if is_whole and (len(numbers) > SURE_NUMBERS or (len(numbers) > SURE_CLASSES and mean_rows < 2)):
        return "Regression"
    is_run = len(numbers) > 1 and numbers[-1] - numbers[0] == len(numbers) - 1
    is_repeated = mean_rows >= SURE_ROWS or (is_run and mean_rows >= 3)
    if is_whole and len(numbers) <= SURE_CLASSES and is_repeated and numeric == rows:
        return "MulticlassClassification"
    raise _untold(distinct, rows, where, "of classes or of amounts")


def _classes_of_text(distinct: Arrow, rows: int, where: str) -> ProblemType:
    if len(distinct) <= 2:
        return "BinaryClassification"
    if rows / len(distinct) < 2 or len(distinct) > MAX_CLASSES:
        raise _untold(distinct, rows, where, "of classes, for most stand in one row only")
    return "MulticlassClassification"


def _untold(distinct: Arrow, rows: int, where: str, what: str) -> InvalidData:
    return InvalidData(
        where=where,
        found=f"{len(distinct)} distinct values in {rows} rows, as "
        f"{', '.join(csv_files.shown(distinct[:_SHOWN].to_pylist()))}",
        problem=f"it cannot be told with confidence whether these are names {what}",
        fix=f"{_FIX}: MulticlassClassification or Regression",
    )


def _check_numbers(present: Arrow, values: Arrow, where: str) -> None:
    numbers = values.drop_null()
    if len(numbers) and pc.count_distinct(numbers).as_py() > 1:
        return
    strange = pc.unique(present.filter(pc.is_null(values)).drop_null())[:_SHOWN].to_pylist()
    raise InvalidData(
        where=where,
        found=csv_files.shown(strange) if not len(numbers) else numbers[0].as_py(),
        problem="no row's target is a number"
        if not len(numbers)
        else "all rows have the same target: nothing to learn",
        fix="name another column as TargetAttributeName" + ("" if len(numbers) else ", or a classification"),
    )


def _keys(present: Arrow, values: Arrow) -> Arrow:
    """Give each row's class by its name; of numbers that are equal the name that stands most often."""
    if values.null_count != present.null_count:
        return present
    counts = pc.value_counts(present.drop_null())
    texts = counts.field("values")
    numbers = np.asarray(kinds.numbers(texts))
    order = np.lexsort((np.asarray(counts.field("counts")) * -1, numbers))
    names: dict[float, str] = {}
    for at in order.tolist():
        names.setdefault(float(numbers[at]), texts[at].as_py())
    if len(names) == len(texts):
        return present
    by_text = pa.array([names[float(one)] for one in numbers], present.type)
    return by_text.take(pc.index_in(present, value_set=texts))


def _keys_like(present: Arrow, values: Arrow, labels: Sequence[str]) -> Arrow:
    """Give each row's class by its name among `labels`, numbers by their value; what is none of them stays."""
    known = kinds.numbers(pa.array(labels, pa.string()))
    if known.null_count:
        return present
    at = pc.index_in(values, value_set=known)
    return pc.coalesce(pa.array(labels, present.type).take(at), present)


def _labels(keys: Arrow, problem_type: ProblemType, where: str) -> tuple[str, ...]:
    counts = pc.value_counts(keys.drop_null())
    found: list[str] = counts.field("values").to_pylist()
    shown = ", ".join(map(repr, csv_files.shown(sorted(found)[:_SHOWN])))
    if len(found) < 2:
        raise InvalidData(
            where=where,
            found=shown,
            problem="all rows have the same class: nothing to learn",
            fix="give rows of others",
        )
    if problem_type == "BinaryClassification" and len(found) > 2:
        raise InvalidData(
            where=where,
            found=f"{len(found)} classes, as {shown}",
            problem="more than the two of a BinaryClassification",
            fix="set ProblemType to MulticlassClassification, or leave out the rows of other classes",
        )
    if len(found) > MAX_CLASSES:
        raise InvalidData(
            where=where,
            found=f"{len(found)} classes, as {shown}",
            problem=f"more than the {MAX_CLASSES} that are learnt",
            fix="set ProblemType to Regression if these are amounts, or join classes",
        )
    return tuple(_positive_last(found) if len(found) == 2 else _ordered(found))


def _ordered(labels: Sequence[str]) -> list[str]:
    """Give numbers by their value, and texts in the order of their characters."""
    numbers = kinds.numbers(pa.array(labels, pa.string())).to_pylist()
    if None in numbers:
        return sorted(labels)
    return [label for _, label in sorted(zip(numbers, labels, strict=True))]


def _positive_last(labels: Sequence[str]) -> list[str]:
    """Give two labels with the positive one last: of words by their meaning, else the later one in order."""
    first, second = _ordered(labels)
    if kinds.numbers(pa.array(labels, pa.string())).null_count == 0:
        return [first, second]
    first_word, second_word = first.casefold(), second.casefold()
    is_turned = first_word in _POSITIVE and second_word not in _POSITIVE
    is_turned = is_turned or (second_word in _NEGATIVE and first_word not in _NEGATIVE)
    return [second, first] if is_turned else [first, second]


def _numbers_of(keys: Arrow, labels: Sequence[str]) -> npt.NDArray[np.float64]:
    return _floats(pc.index_in(keys, value_set=pa.array(labels, keys.type)).cast(pa.float64()), keys)


def _floats(values: Arrow, keys: Arrow | None = None) -> npt.NDArray[np.float64]:
    if keys is not None:
        values = pc.if_else(pc.is_valid(keys), values, pa.scalar(None, pa.float64()))
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)


def _counted(bad: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in bad.items() if count}
