"""Rows of a JSON payload, or of JSON lines; payloads.py reads by it.

    {"instances": [row, ...]}    [row, ...]    row          a row is one of
    {"name": value, ...}         features by name; one that is not there is missing; target and weight are not read
    {"features": [value, ...]}   [value, ...]               in training order

A value is a text, a number, true, false or null for one that is missing; of a sequence also a list of numbers. NaN,
which Python's json writes, is null. With JSON lines every line is a row.
"""

from __future__ import annotations

import difflib
import io
import json
from collections.abc import Iterator, Sequence

from gyropilot.data import header_names
from gyropilot.errors import Fault, InvalidRequest
from gyropilot.problems.contract import Json
from gyropilot.problems.tabular.columns import Schema
from gyropilot.problems.tabular.serving import faults as faulty
from gyropilot.problems.tabular.serving.faults import MOST_FAULTS, raise_faults

_INSTANCES, _FEATURES = "instances", "features"
_FORM = (
    'send {"instances": [{"features": [...]}, ...]}, or a list of objects with the value of each feature by its name'
)
_LINE_FORM = 'send a row a line: {"features": [...]}, or an object with the value of each feature by its name'
_KINDS = {dict: "an object", list: "a list", str: "a text", int: "a number", float: "a number", bool: "true or false"}

_COMPARED_NAMES = 1000

JsonRow = dict[str, Json]


class JsonRows:
    """The rows of one payload, found to fit the schema."""

    def __init__(self, body: bytes, schema: Schema, *, is_lines: bool) -> None:
        """Check every row.

        Raises:
            InvalidRequest: with the first faults.
        """
        self._schema, self._names = schema, schema.names
        self._known, self._sequences = set(self._names), set(schema.of_kind("sequence"))
        self._aside = {schema.target, schema.weight}
        self._form = _LINE_FORM if is_lines else _FORM
        self._faults: list[Fault] = []
        found = _lines(body) if is_lines else enumerate(self._instances(_value(body, "payload", _FORM)), start=1)
        self._rows: list[JsonRow] = []
        for number, one in found:
            self._rows.append(self._row(f"line {number}" if is_lines else faulty.row(number), one))
            if len(self._faults) >= MOST_FAULTS:
                break
        if not self._rows:
            self._faults.append(Fault(where="rows", problem="there are none", fix=self._form))
        raise_faults(self._faults)

    def chunks(self, size: int) -> Iterator[tuple[int, list[JsonRow]]]:
        """Give the rows, some at a time, each with every feature, and how many are before these."""
        for start in range(0, len(self._rows), size):
            yield start, self._rows[start : start + size]

    def _instances(self, value: Json) -> Sequence[Json]:
        """Give the rows that a payload is made of."""
        if isinstance(value, dict):
            if _INSTANCES not in value or _INSTANCES in self._known:
                return [value]
            for name in value:
                if name != _INSTANCES:
                    fix = f"leave it out, or send the rows alone: {_FORM}"
                    self._faults.append(Fault(where=faulty.shown(name), problem="is not known here", fix=fix))
            return _listed(value[_INSTANCES], _INSTANCES, _FORM)
        if isinstance(value, list):
            return value if not value or any(isinstance(one, dict | list) for one in value) else [value]
        return _listed(value, "payload", _FORM)

    def _row(self, where: str, row: Json) -> JsonRow:
        """Give a row's values by name; what is wrong is kept."""
        if isinstance(row, dict) and set(row) == {_FEATURES} and self._known != {_FEATURES}:
            row = _listed(row[_FEATURES], f"{where}: {_FEATURES}", self._form)
        if isinstance(row, list):
            if len(row) != len(self._names):
                self._faults.append(faulty.wrong_count(where, len(row), self._schema, values="values"))
                return {}
            row = dict(zip(self._names, row, strict=True))
        elif isinstance(row, dict):
            row = self._as_the_header(where, row)
            self._check_names(where, row)
        else:
            kind = _KINDS.get(type(row), "null")
            self._faults.append(Fault(where=where, problem=f"must be an object or a list, not {kind}", fix=self._form))
            return {}
        return {name: self._field(where, name, row.get(name)) for name in self._names}

    def _as_the_header(self, where: str, row: JsonRow) -> JsonRow:
        """Give a row with names as training read them of the header: without the spaces around them."""
        if row.keys() <= self._known:
            return row
        named = {name: name if name in self._known else header_names.named_column(name) for name in row}
        for name, column in named.items():
            if name != column and column in row:
                problem = f"is told twice: {faulty.shown(column)} is there too, and spaces round a name do not count"
                where_ = f"{where}: {faulty.shown(name)!r}"
                self._faults.append(Fault(where=where_, problem=problem, fix="send it once"))
        return {named[name]: value for name, value in row.items()}

    def _check_names(self, where: str, row: JsonRow) -> None:
        unknown = [name for name in row if name not in self._known and name not in self._aside]
        missing = [name for name in self._names if name not in row]
        for name in unknown[:MOST_FAULTS]:
            problem, fix = self._no_column(name, row[name], missing)
            self._faults.append(Fault(where=f"{where}: {faulty.shown(name)}", problem=problem, fix=fix))
        if len(missing) == len(self._names) and not unknown:
            fix = f"send each by its name, null where it is missing: {faulty.named(self._names)}"
            self._faults.append(Fault(where=where, problem="has none of the model's features", fix=fix))

    def _no_column(self, name: str, value: Json, missing: Sequence[str]) -> tuple[str, str]:
        """Say what is wrong with a name that is no column's, and how to mend it."""
        problem = "is no column of the model's data"
        if name == _FEATURES and isinstance(value, list):
            fix = 'send it alone, {"features": [...]}, or each value by the name of its column'
            return "is a whole row, and other names stand beside it", fix
        near = difflib.get_close_matches(name[:200], missing[:_COMPARED_NAMES], n=1)
        if near:
            return problem, f"did you mean {faulty.shown(near[0])}?"
        return problem, self._form if isinstance(value, dict | list) else "leave it out"

    def _field(self, where: str, name: str, value: Json) -> Json:
        """Give a field's value: text, number, truth or None."""
        if isinstance(value, list) and name in self._sequences and all(map(_is_number, value)):
            return ",".join("" if one is None else repr(one) for one in value)
        problem, fix = "", ""
        if isinstance(value, dict | list):
            problem = f"must be a text, a number, true, false or null, not {_KINDS[type(value)]}"
            fix = "send one value a feature"
        elif isinstance(value, str) and not _is_whole(value):
            problem, fix = "holds half a character (a lone surrogate)", "send both halves, or the character itself"
        if not problem:
            return value
        self._faults.append(Fault(where=f"{where}: {faulty.shown(name)}", problem=problem, fix=fix))
        return None


def _listed(value: Json, where: str, form: str) -> list[Json]:
    if isinstance(value, list):
        return value
    kind = _KINDS.get(type(value), "null")
    raise InvalidRequest(where=where, problem=f"must be a list, not {kind}", fix=form)


def _lines(body: bytes) -> Iterator[tuple[int, Json]]:
    for number, line in enumerate(io.BytesIO(body), start=1):
        if line.strip():
            yield number, _value(line, f"line {number}", _LINE_FORM)


def _value(body: bytes, where: str, form: str) -> Json:
    problem, fix = "", f"{form}; rows of CSV are of type text/csv"
    try:
        return json.loads(
            body.decode("utf-8-sig"), object_pairs_hook=_told_once, parse_constant=_constant, parse_float=_finite
        )
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8 at byte {error.start}"
    except RecursionError:
        problem = "is nested too deeply"
    except ValueError as error:
        problem = f"is not JSON: {str(error).splitlines()[0][:200]}"
        if "Extra data" in problem and b"\n" in body.strip():
            fix = "send a JSON value a line with the content type application/jsonlines"
    start = faulty.shown(body[:60].decode("utf-8", errors="backslashreplace"))
    raise InvalidRequest(where=where, found=start, problem=problem, fix=fix)


def _told_once(pairs: list[tuple[str, Json]]) -> JsonRow:
    values = dict(pairs)
    if len(values) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"{faulty.shown(twice)} is told twice")
    return values


def _constant(text: str) -> None:
    if text != "NaN":
        raise ValueError(f"{text} is no number of JSON; send null for a value that is missing")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:40]} is too large a number")
    return number


def _is_number(value: Json) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _is_whole(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
