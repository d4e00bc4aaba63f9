"""What a table's first line, or schema, names its columns: read alike before a job is created, and in the job."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence

from gyropilot.data import csv_files
from gyropilot.errors import Fault, InvalidData

MAX_COLUMNS = 20_000
MAX_NAME_CHARACTERS = 1024
_SEPARATORS = (";", "\t", "|")
_MOST_NAMED = 10
_SHOWN_COLUMNS = 20
_CONTROL = {chr(code) for code in (*range(32), 127)}
_NO_HEADER = "looks like a row of data, not like a header"
_HEADER_MEND = "begin the file with a line of column names"


def named(fields: Sequence[str]) -> tuple[str, ...]:
    """Give the names that fields stand for: without the spaces around them, and never empty."""
    return tuple(field.strip() or f"Unnamed: {at}" for at, field in enumerate(fields))


def named_column(name: str) -> str:
    """Give the column that a caller means: its name without the spaces around it, as `named` has it."""
    return name.strip() or name


def header_columns(fields: Sequence[str], uri: str) -> tuple[str, ...]:
    """Give the names of the columns that a header's fields stand for.

    Raises:
        InvalidData: they can be no names of a table's columns; with every fault.
    """
    where = f"{uri}: header"
    names = named(fields)
    if len(names) == 1:
        marks = [one for one in _SEPARATORS if one in names[0]]
        if marks:
            raise InvalidData.of([csv_files.separator_fault(fields, marks[0], where)])
        raise InvalidData(
            where=where,
            found=csv_files.shown(fields),
            problem="has one column: a target alone, and nothing to predict it from",
            fix="give a table with the target and at least one other column, separated by commas",
        )
    if len(names) > MAX_COLUMNS:
        raise InvalidData(
            where=where,
            found=len(names),
            problem=f"has more than {MAX_COLUMNS} columns",
            fix="leave out columns, or give the table's rows as rows",
        )
    faults = [*_repeated_faults(names, where), *_name_faults(names, where)]
    if faults:
        raise InvalidData.of(faults)
    return names


def mend_of(column: str, names: Sequence[str]) -> str:
    """Say how to mend it that no column of a table has this name: what may have been meant, and what there is."""
    shown = [csv_files.shown([one])[0] for one in names[:_SHOWN_COLUMNS]]
    listed = ", ".join(map(repr, shown))
    more = f" and {len(names) - _SHOWN_COLUMNS} more" if len(names) > _SHOWN_COLUMNS else ""
    near = difflib.get_close_matches(column.lower(), {one.lower(): one for one in names}, n=1, cutoff=0.6)
    if near:
        meant = next(one for one in names if one.lower() == near[0])
        return f"did you mean {meant!r}? its columns are {listed}{more}; letter case counts"
    for mark in _SEPARATORS:
        if column in (field.strip().strip('"') for field in ",".join(names).split(mark)):
            return f"its fields look separated by {mark!r}: separate them by commas; read so, they are {listed}{more}"
    if any(map(_is_number, names)):
        return f"its first line {_NO_HEADER}: {_HEADER_MEND}; it is {listed}{more}"
    return f"its columns are {listed}{more}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return any(one.isdigit() for one in text)  # no NaN, which may be a name


def _repeated_faults(names: Sequence[str], where: str) -> list[Fault]:
    repeated = [name for name, count in Counter(names).items() if count > 1][:_MOST_NAMED]
    if any(map(_is_number, repeated)):
        return [Fault(where=where, found=csv_files.shown(names), problem=_NO_HEADER, fix=_HEADER_MEND)]
    return [
        Fault(
            where=where,
            found=csv_files.shown([name])[0],
            problem=f"columns {_listed([at for at, one in enumerate(names, start=1) if one == name])} bear one name",
            fix="rename them, or keep one",
        )
        for name in repeated
    ]


def _name_faults(names: Sequence[str], where: str) -> list[Fault]:
    bad = [
        (at, name)
        for at, name in enumerate(names, start=1)
        if len(name) > MAX_NAME_CHARACTERS or _CONTROL.intersection(name)
    ]
    return [
        Fault(
            where=where,
            found=csv_files.shown([name])[0],
            problem=f"the name of column {at} holds a control character, or more than {MAX_NAME_CHARACTERS} characters",
            fix="rename it",
        )
        for at, name in bad[:_MOST_NAMED]
    ]


def _listed(numbers: Sequence[int]) -> str:
    return f"{', '.join(map(str, numbers[:5]))}{', ...' if len(numbers) > 5 else ''}"
