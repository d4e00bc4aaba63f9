"""Tables in memory as training, reports and serving use them: features by the schema's kinds, target, weights.

In a features DataFrame: numeric is float64 with NaN; categorical, text and sequence are objects of str or None;
datetime is datetime64[ns] in UTC, without a zone. Ignored columns are there, and all missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gyropilot.errors import Fault, InvalidRequest
from gyropilot.problems.contract import Json
from gyropilot.problems.tabular.columns import Column, ColumnKind, Schema

if TYPE_CHECKING:
    import pandas as pd

Arrow = Any
"""A value of pyarrow's, which ships no types."""
TRAINING_FILE, VALIDATION_FILE = "training.parquet", "validation.parquet"
_MOST_FAULTS = 20
_SHOWN_CHARACTERS = 80


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Usable rows of a job."""

    features: pd.DataFrame
    """[row, feature]: every feature of the schema, in its order."""
    target: npt.NDArray[np.int64] | npt.NDArray[np.float64]
    """[row]: class numbers, or numbers."""
    weights: npt.NDArray[np.float64] | None
    """[row], >= 0; None: rows count alike."""


def together(first: Frame, second: Frame) -> Frame:
    """Give the rows of both, those of `first` before."""
    import pandas as pd

    weights = None
    if first.weights is not None and second.weights is not None:
        weights = np.concatenate([first.weights, second.weights])
    return Frame(
        features=pd.concat([first.features, second.features], ignore_index=True),
        target=np.concatenate([first.target, second.target]),
        weights=weights,
    )


def arrow_type(kind: ColumnKind) -> Arrow:
    """Give the Arrow type of a kind's values."""
    import pyarrow as pa

    return {"numeric": pa.float64(), "datetime": pa.timestamp("us")}.get(kind, pa.string())


def typed_columns(fields: Mapping[str, Arrow], schema: Schema) -> list[Arrow]:
    """Give the columns of the schema's features as typed Arrow arrays.

    Args:
        fields: by name, the string fields of every feature that is not ignored.
        schema: the columns.
    """
    import pyarrow as pa

    from gyropilot.problems.tabular import kinds

    rows = max((len(one) for one in fields.values()), default=0)
    return [
        pa.nulls(rows, arrow_type(one.kind))
        if one.is_ignored
        else kinds.typed(fields[one.name], one.kind, day_first=one.day_first)
        for one in schema.features
    ]


def read_prepared(path: Path, schema: Schema) -> Frame:
    """Read the rows that profile left in a Parquet file."""
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        table = file.read(use_threads=False)
    columns = [table.column(number) for number in range(len(schema.features))]
    target = table.column(len(schema.features)).to_numpy()
    weights = None if schema.weight is None else table.column(len(schema.features) + 1).to_numpy()
    return Frame(features=_data_frame(columns, schema), target=target, weights=weights)


def from_text(rows: Sequence[Sequence[str | None]], schema: Schema) -> pd.DataFrame:
    """Give rows of fields, as a CSV file has them, as features; what is missing stays a missing value.

    Args:
        rows: [row, feature], the fields in the schema's order.
        schema: the columns.

    Raises:
        InvalidRequest: a row has another number of fields, or one that is given for a number or a time and is none.
    """
    _check_lengths(rows, schema)
    typed = _typed_fields(rows, schema)
    _check_given(rows, typed, schema)
    return _data_frame(typed, schema)


def _typed_fields(rows: Sequence[Sequence[str | None]], schema: Schema) -> list[Arrow]:
    """Give the columns of a few rows as `typed_columns` does: all of a kind in one go, since each step costs a call."""
    import pyarrow as pa

    from gyropilot.problems.tabular import kinds

    columns = [pa.nulls(len(rows), arrow_type(one.kind)) for one in schema.features]
    places_by_kind: dict[tuple[ColumnKind, bool], list[int]] = {}
    for at, one in enumerate(schema.features):
        if not one.is_ignored:
            places_by_kind.setdefault((one.kind, one.day_first), []).append(at)
    for (kind, day_first), places in places_by_kind.items():
        fields = pa.array([row[at] for at in places for row in rows], pa.string())
        typed = kinds.typed(fields, kind, day_first=day_first)
        for number, at in enumerate(places):
            columns[at] = typed.slice(number * len(rows), len(rows))
    return columns


def from_json(rows: Sequence[Mapping[str, Json]], schema: Schema) -> pd.DataFrame:
    """Give rows as JSON objects by column name as features; a name that a row lacks is a missing value.

    Target and weight may be there and are not looked at.

    Raises:
        InvalidRequest: a name is no column, or a value is no text, number, truth value, null, or list of numbers.
    """
    known = {one.name: one for one in schema.features}
    aside = {schema.target, schema.weight}
    faults: list[Fault] = []
    fields: list[list[str | None]] = []
    for number, row in enumerate(rows, start=1):
        unknown = [name for name in row if name not in known and name not in aside]
        faults += [_unknown_column(number, name, schema) for name in unknown]
        fields.append([_field(row.get(name), one, number, faults) for name, one in known.items()])
        if len(faults) >= _MOST_FAULTS:
            break
    if faults:
        raise InvalidRequest.of(faults[:_MOST_FAULTS])
    return from_text(fields, schema)


def _data_frame(columns: Sequence[Arrow], schema: Schema) -> pd.DataFrame:
    import pandas as pd

    arrays = {at: _array(values, one) for at, (values, one) in enumerate(zip(columns, schema.features, strict=True))}
    frame = pd.DataFrame(arrays)
    frame.columns = pd.Index(schema.names, dtype="object")
    return frame


def _array(values: Arrow, column: Column) -> npt.NDArray[Any]:
    import pyarrow as pa

    if column.kind == "numeric":
        return np.array(values.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    if column.kind == "datetime":
        return np.array(values.cast(pa.timestamp("ns")).to_numpy(zero_copy_only=False), dtype="datetime64[ns]")
    return np.array(values.cast(pa.large_string()).to_numpy(zero_copy_only=False), dtype=object)


def _check_lengths(rows: Sequence[Sequence[str | None]], schema: Schema) -> None:
    wanted = len(schema.features)
    faults = [
        Fault(
            where=f"row {number}",
            found=f"{len(row)} fields",
            problem=f"has another number of fields than the {wanted} columns that the model was trained on",
            fix=_lengths_mend(len(row), schema),
        )
        for number, row in enumerate(rows, start=1)
        if len(row) != wanted
    ]
    if faults:
        more = [f"{len(faults) - _MOST_FAULTS} more rows"] if len(faults) > _MOST_FAULTS else []
        told = [Fault(where=one, problem="have another number of fields too") for one in more]
        raise InvalidRequest.of([*faults[:_MOST_FAULTS], *told])


def _lengths_mend(found: int, schema: Schema) -> str:
    shown = ", ".join(map(repr, schema.names[:20])) + (", ..." if len(schema.names) > 20 else "")
    target = f"leave out the target {schema.target!r}; " if found == len(schema.features) + 1 else ""
    return f"{target}give, in this order and without a header: {shown}"


def _check_given(rows: Sequence[Sequence[str | None]], typed: Sequence[Arrow], schema: Schema) -> None:
    """Refuse what is given for a number or a time and is none, where training had no such fields in its column.

    Where it had some, they are missing, but for a row of which no number can be read though several should be.
    """
    faults: list[Fault] = []
    unread = _unread(rows, typed, schema)
    numbers = [at for at, one in enumerate(schema.features) if one.kind == "numeric" and not one.is_ignored]
    for number, places in sorted(unread.items()):
        given = [at for at in places if at in numbers]
        is_astray = len(given) > 1 and not any(typed[at][number].is_valid for at in numbers)
        told = [at for at in places if is_astray or not schema.features[at].takes_strays]
        faults += [_unread_fault(rows, number, at, schema, beside=len(places) - 1) for at in told[:1]]
        if len(faults) >= _MOST_FAULTS:
            break
    if faults:
        raise InvalidRequest.of(faults)


def _unread(
    rows: Sequence[Sequence[str | None]], typed: Sequence[Arrow], schema: Schema
) -> Mapping[int, Sequence[int]]:
    """Give the places of fields that are given for a number or a time and are none, by the number of their row."""
    import pyarrow as pa

    from gyropilot.problems.tabular import kinds

    places: dict[int, list[int]] = {}
    for at, column in enumerate(schema.features):
        if column.is_ignored or column.kind not in {"numeric", "datetime"}:
            continue
        empty = np.flatnonzero(np.asarray(typed[at].is_null())).tolist()
        given = [number for number in empty if (rows[number][at] or "").strip()]
        if not given:  # so it is of nearly all columns, and each step with Arrow costs
            continue
        fields = kinds.cleaned(pa.array([rows[number][at] for number in given], pa.string()))
        is_foreign = kinds.foreign(fields, column.kind, day_first=column.day_first).to_pylist()
        for number in (one for one, holds in zip(given, is_foreign, strict=True) if holds):
            if column.kind != "datetime" or not _is_far_time(rows[number][at] or ""):
                places.setdefault(number, []).append(at)
    return places


def _is_far_time(field: str) -> bool:
    """Say whether a field that was not read is a time all the same: one before 1677 or after 2262, which is missing."""
    try:
        datetime.fromisoformat(field.strip())
    except ValueError:
        return False
    return True


def _unread_fault(rows: Sequence[Sequence[str | None]], number: int, at: int, schema: Schema, *, beside: int) -> Fault:
    """Say of a row's first field that cannot be read what it should be; `beside`: how many more there are."""
    column, found = schema.features[at], rows[number][at] or ""
    word = "number" if column.kind == "numeric" else "date or time"
    fix = f"give a {word} as the training data has them, or leave it empty (null in JSON) where it is missing"
    more = f", as {beside} more of this row's fields are not what their columns hold" if beside else ""
    if beside:
        shown = ", ".join(map(repr, schema.names[:20])) + (", ..." if len(schema.names) > 20 else "")
        fix += f"; in their order the columns are {shown}"
    return Fault(
        where=f"row {number + 1}, column {column.name!r}",
        found=found if len(found) <= _SHOWN_CHARACTERS else f"{found[:_SHOWN_CHARACTERS]}...",
        problem=f"is no {word}{more}",
        fix=fix,
    )


def _unknown_column(number: int, name: str, schema: Schema) -> Fault:
    shown = ", ".join(map(repr, schema.names[:20])) + (", ..." if len(schema.names) > 20 else "")
    return Fault(where=f"row {number}", found=name, problem="is no column of the model", fix=f"the columns are {shown}")


def _field(value: Json, column: Column, number: int, faults: list[Fault]) -> str | None:
    """Give a JSON value as a file would have it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, list) and column.kind == "sequence" and all(_is_number(one) for one in value):
        return ",".join(repr(one) for one in value)
    faults.append(
        Fault(
            where=f"row {number}, column {column.name!r}",
            found=value,
            problem="is neither text, number, truth value nor null",
            fix="give one value a column",
        )
    )
    return None


def _is_number(value: Json) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
