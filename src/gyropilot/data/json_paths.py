"""The JSONPath of batch transforms: what InputFilter and OutputFilter may say, and what they pick out of a record.

    $                       the whole record
    .name  ['name']         a member of an object                 ['a','b']   an object of these members alone
    [2]  [-1]               an element of an array, or a column   [0,5:]      an array of these elements, in this order
    [1:]  [:-1]  [2:4]      a part of an array
    .*  [*]                 all members or elements, as an array; what follows is picked out of each

No filters, scripts or descents: the operators are those that the service documents, one expression has one meaning.
Own code, since the libraries at hand give matches without the shape they had, and do not read `[0,5:]`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gyropilot.errors import InvalidRequest

Json = Any


class NothingThere(Exception):
    """A path names what a record does not have; the message says what."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """`.name`"""

    name: str


@dataclass(frozen=True, kw_only=True)
class Members:
    """`['a','b']`"""

    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Elements:
    """`[2]`, `[0,5:]`"""

    picks: tuple[int | slice, ...]

    @property
    def is_one(self) -> bool:
        """Say whether this names a single element."""
        return len(self.picks) == 1 and isinstance(self.picks[0], int)


@dataclass(frozen=True)
class All:
    """`.*`"""


Step = Member | Members | Elements | All


@dataclass(frozen=True, kw_only=True)
class JsonPath:
    """A path that was read."""

    text: str
    steps: tuple[Step, ...]

    @property
    def is_whole(self) -> bool:
        """Say whether it picks out all there is."""
        return not self.steps

    @property
    def is_of_columns(self) -> bool:
        """Say whether it can pick columns out of a row."""
        return len(self.steps) <= 1 and all(isinstance(step, Elements | All) for step in self.steps)

    def pick(self, record: Json) -> Json:
        """Give what the path picks out of a record of JSON values.

        Raises:
            NothingThere: the record has no such part.
        """
        return _picked(record, self.steps, "$")

    def pick_columns(self, row: Sequence[str]) -> list[str]:
        """Give the columns of a row that a path of columns picks, in its order.

        Raises:
            NothingThere: the row has no such column.
        """
        picked = _picked(list(row), self.steps, "$")
        return picked if isinstance(picked, list) else [picked]


def read(where: str, text: str) -> JsonPath:
    """Give the path that `text`, the field `where`, says.

    Raises:
        InvalidRequest: it is none that is read here; the message says at which character.
    """
    if not text.startswith("$"):
        raise _unread(where, text, 0, "it must begin with $")
    steps: list[Step] = []
    place = 1
    while place < len(text):
        found = _STEP.match(text, place)
        if found is None or (steps and isinstance(steps[-1], Members)):
            problem = "nothing may follow on several names" if found else "this is no operator of the service"
            raise _unread(where, text, place, problem)
        steps.append(_step(where, text, found))
        place = found.end()
    return JsonPath(text=text, steps=tuple(steps))


_NAMES = r"""(?:'[^'\\]*'|"[^"\\]*")(?:\s*,\s*(?:'[^'\\]*'|"[^"\\]*"))*"""
_PICK = r"(?:-?\d{1,9})?:(?:-?\d{1,9})?|-?\d{1,9}"
_STEP = re.compile(
    rf"""
      \.?\[\s*(?P<names>{_NAMES})\s*\]
    | \.?\[\s*(?P<picks>(?:{_PICK})(?:\s*,\s*(?:{_PICK}))*)\s*\]
    | (?P<all>\.\*|\.?\[\s*\*\s*\])
    | \.(?P<name>[^\s.\[\]'"*,:()?@$]+)
    """,
    re.VERBOSE,
)


def _step(where: str, text: str, found: re.Match[str]) -> Step:
    if found["name"] is not None:
        return Member(name=found["name"])
    if found["all"] is not None:
        return All()
    if found["names"] is not None:
        names = tuple(one[1:-1] for one in re.findall(r"'[^']*'|\"[^\"]*\"", found["names"]))
        if len(set(names)) < len(names):
            raise _unread(where, text, found.start(), "a name stands there twice")
        return Member(name=names[0]) if len(names) == 1 else Members(names=names)
    return Elements(picks=tuple(_pick(one.strip()) for one in found["picks"].split(",")))


def _pick(text: str) -> int | slice:
    if ":" not in text:
        return int(text)
    first, _, last = text.partition(":")
    return slice(int(first) if first else None, int(last) if last else None)


def _picked(value: Json, steps: Sequence[Step], path: str) -> Json:
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    match step:
        case Member(name=name):
            return _picked(_member(value, name, path), rest, f"{path}.{name}")
        case Members(names=names):
            return {name: _member(value, name, path) for name in names}
        case Elements(picks=picks) if step.is_one:
            return _picked(_elements(value, picks, path)[0], rest, f"{path}[{picks[0]}]")
        case Elements(picks=picks):
            return [_picked(one, rest, f"{path}[...]") for one in _elements(value, picks, path)]
        case _:
            return [_picked(one, rest, f"{path}[*]") for one in _all(value, path)]


def _member(value: Json, name: str, path: str) -> Json:
    if not isinstance(value, Mapping):
        raise NothingThere(f"{path} is {_kind(value)}, which has no member {name!r}")
    if name not in value:
        known = ", ".join(repr(one) for one in list(value)[:8])
        raise NothingThere(f"{path} has no member {name!r}, only {known or 'none'}")
    return value[name]


def _elements(value: Json, picks: Sequence[int | slice], path: str) -> list[Json]:
    if not isinstance(value, list):
        raise NothingThere(f"{path} is {_kind(value)}, which has no elements to count")
    found: list[Json] = []
    for pick in picks:
        if isinstance(pick, int):
            if not -len(value) <= pick < len(value):
                raise NothingThere(f"{path} has {len(value)} elements, none at {pick}")
            found.append(value[pick])
        else:
            part = value[pick]
            if not part:
                shown = f"{'' if pick.start is None else pick.start}:{'' if pick.stop is None else pick.stop}"
                raise NothingThere(f"{path} has {len(value)} elements, none in {shown}")
            found.extend(part)
    return found


def _all(value: Json, path: str) -> list[Json]:
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, list):
        return value
    raise NothingThere(f"{path} is {_kind(value)}, which has no parts")


def _kind(value: Json) -> str:
    kinds: tuple[tuple[type, str], ...] = (
        (dict, "an object"),
        (list, "an array"),
        (str, "a text"),
        (bool, "true or false"),
        (type(None), "null"),
    )
    return next((name for kind, name in kinds if isinstance(value, kind)), "a number")


def _unread(where: str, text: str, place: int, problem: str) -> InvalidRequest:
    return InvalidRequest(
        where=where,
        found=text,
        problem=f"cannot be read at character {place + 1}: {problem}",
        fix="write a path such as $, $.features, $[1:], $[0,-1] or $['id','SageMakerOutput']",
    )
