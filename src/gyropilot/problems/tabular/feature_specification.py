"""Reads the file that FeatureSpecificationS3Uri names: which columns are features, and of what kind they are.

{"FeatureAttributeNames": ["age", "city"], "FeatureDataTypes": {"age": "numeric"}}
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gyropilot.data import header_names
from gyropilot.errors import Fault, InvalidData
from gyropilot.problems.contract import Json
from gyropilot.problems.tabular.columns import ColumnKind

NAMES, TYPES = "FeatureAttributeNames", "FeatureDataTypes"
MAX_BYTES = 4 * 2**20
_FORM = f'write {{"{NAMES}": ["age", "city"], "{TYPES}": {{"age": "numeric"}}}}'
_MOST_FAULTS = 20


@dataclass(frozen=True, kw_only=True)
class FeatureSpecification:
    """What the user said of the columns."""

    names: tuple[str, ...] | None
    """The features; None: every column that is not the target or the weight."""
    kinds: Mapping[str, ColumnKind]
    """Of those whose kind was said."""


NOTHING_SAID = FeatureSpecification(names=None, kinds={})


def read(
    data: bytes,
    uri: str,
    *,
    columns: Sequence[str] | None,
    target: str,
    weight: str | None,
    taken: Sequence[ColumnKind],
) -> FeatureSpecification:
    """Read what the file holds, and hold it against the table's columns.

    Args:
        data: the file's bytes.
        uri: where it lies.
        columns: names of the table's columns; None: they are not known, and names are held against none.
        target: the column to predict.
        weight: the column of sample weights.
        taken: the kinds of columns that the job takes.

    Raises:
        InvalidData: it is no such file, or does not fit the columns; with every fault.
    """
    values = _parsed(data, uri)
    faults = [
        Fault(where=uri, found=key, problem="is no key of a feature specification", fix=f"keep {NAMES} and {TYPES}")
        for key in values
        if key not in {NAMES, TYPES}
    ]
    names, kinds = _as_the_header(values.get(NAMES)), _as_the_header(values.get(TYPES) or {})
    reserved = {target: "the target", weight: "the column of sample weights"}
    if names is not None:
        faults += _names_faults(names, uri, columns, reserved)
    faults += _kinds_faults(kinds, uri, names if isinstance(names, list) else None, columns, reserved, taken)
    if faults:
        raise InvalidData.of(faults[:_MOST_FAULTS])
    return FeatureSpecification(names=None if names is None else tuple(names), kinds=dict(kinds))


def _parsed(data: bytes, uri: str) -> dict[str, Json]:
    if len(data) > MAX_BYTES:
        raise InvalidData(where=uri, problem=f"is longer than {MAX_BYTES} bytes", fix=_FORM)
    try:
        values = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise InvalidData(where=uri, problem=f"is no JSON: {error}", fix=_FORM) from error
    if not isinstance(values, dict):
        raise InvalidData(where=uri, found=values, problem="is no JSON object", fix=_FORM)
    return values


def _without_repeats(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return values


def _as_the_header(named: Json) -> Json:
    """Give a list of names, or an object by name, with names as those of the header are read; any other as it is."""
    if isinstance(named, list):
        return [header_names.named_column(one) if isinstance(one, str) else one for one in named]
    if isinstance(named, dict) and len({header_names.named_column(one) for one in named}) == len(named):
        return {header_names.named_column(one): value for one, value in named.items()}
    return named


def _names_faults(
    names: Json, uri: str, columns: Sequence[str] | None, reserved: Mapping[str | None, str]
) -> list[Fault]:
    where = f"{uri}: {NAMES}"
    if not isinstance(names, list) or not names or not all(isinstance(one, str) for one in names):
        return [Fault(where=where, found=names, problem="is no list of column names", fix=_FORM)]
    repeated = sorted({one for one in names if names.count(one) > 1}) if len(set(names)) < len(names) else []
    faults = [Fault(where=where, found=one, problem="is named twice", fix="name it once") for one in repeated]
    return faults + [fault for name in dict.fromkeys(names) for fault in _column_faults(name, where, columns, reserved)]


def _column_faults(
    name: str, where: str, columns: Sequence[str] | None, reserved: Mapping[str | None, str]
) -> list[Fault]:
    if name in reserved:
        return [Fault(where=where, found=name, problem=f"is {reserved[name]}, which is no feature", fix="take it out")]
    if columns is None or name in columns:
        return []
    fix = header_names.mend_of(name, columns)
    return [Fault(where=where, found=name, problem="is no column of the table", fix=fix)]


def _kinds_faults(
    kinds: Json,
    uri: str,
    names: Sequence[str] | None,
    columns: Sequence[str] | None,
    reserved: Mapping[str | None, str],
    taken: Sequence[ColumnKind],
) -> list[Fault]:
    where = f"{uri}: {TYPES}"
    if not isinstance(kinds, dict):
        return [Fault(where=where, found=kinds, problem="is no object of kinds by column name", fix=_FORM)]
    faults: list[Fault] = []
    for name, kind in kinds.items():
        if names is not None and (columns is None or name in columns) and name not in names and name not in reserved:
            fix = f"add it to {NAMES}, or take it out here"
            faults.append(Fault(where=where, found=name, problem=f"is not among {NAMES}", fix=fix))
        else:
            faults += _column_faults(name, where, columns, reserved)
        faults += _kind_faults(name, kind, where, taken)
    return faults


def _kind_faults(name: str, kind: Json, where: str, taken: Sequence[ColumnKind]) -> list[Fault]:
    if kind in taken:
        return []
    problem = "is no kind of column"
    if kind == "sequence":
        problem = "is a kind of the mode HYPERPARAMETER_TUNING only"
    return [Fault(where=f"{where}.{name}", found=kind, problem=problem, fix=f"take one of {', '.join(taken)}")]
