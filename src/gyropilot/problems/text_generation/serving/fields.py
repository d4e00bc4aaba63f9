"""Reads the fields of a JSON payload into typed values, gathering every fault; payloads.py and openai.py read by it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence

from gyropilot.errors import Fault, InvalidRequest
from gyropilot.problems.contract import Json

MOST_FAULTS = 20
"""How many faults of one payload are told; a payload may hold 100,000."""
_SHOWN_NAME = 80


class Fields:
    """One JSON object under reading.

    Each reader gives the value of a field, or None where it is left out, null or wrong; what is wrong is kept as a
    fault. `check_known` adds a fault for each field that no reader asked for.
    """

    def __init__(self, values: Mapping[str, Json], *, where: str = "", faults: list[Fault] | None = None) -> None:
        self._values, self._where = values, where
        self._known: set[str] = set()
        self.faults: list[Fault] = [] if faults is None else faults

    def place(self, name: str) -> str:
        """Give where a field stands, as `parameters.top_k`."""
        return f"{self._where}.{name}" if self._where else name

    def fault(self, name: str, problem: str, fix: str, *, found: Json = None) -> None:
        """Keep a fault of the field."""
        self.faults.append(Fault(where=self.place(name), found=found, problem=problem, fix=fix))

    def given(self, name: str) -> Json:
        """Give the field's value whatever it is."""
        self._known.add(name)
        return self._values.get(name)

    def is_given(self, name: str) -> bool:
        """Say whether the field is there and not null."""
        return self._values.get(name) is not None

    def flag(self, name: str) -> bool | None:
        """Read true or false."""
        value = self.given(name)
        if value is None or isinstance(value, bool):
            return value
        self._refused(name, value, "must be true or false", "send one of the two, without quotes")
        return None

    def whole(self, name: str, *, least: int, most: int) -> int | None:
        """Read a whole number from `least` to `most`."""
        value = self.given(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if value is None or (isinstance(value, int) and not isinstance(value, bool) and least <= value <= most):
            return value
        self._refused(name, value, f"must be a whole number from {least} to {most}", "send such a number")
        return None

    def number(self, name: str, *, most: float, least: float = 0, above: float | None = None) -> float | None:
        """Read a number up to `most`: from `least`, or greater than `above`."""
        value = self.given(name)
        if value is None:
            return None
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if is_number and (value >= least if above is None else value > above) and value <= most:
            return float(value)
        start = f"from {least:g}" if above is None else f"greater than {above:g}"
        self._refused(name, value, f"must be a number {start} up to {most:g}", "send such a number")
        return None

    def text(self, name: str) -> str | None:
        """Read a text, every character of it whole."""
        value = self.given(name)
        if value is None:
            return None
        if not isinstance(value, str):
            self._refused(name, value, "must be a string", "send one")
            return None
        return self.whole_text(name, value)

    def texts(self, name: str, *, most: int, may_be_empty: bool = False) -> tuple[str, ...] | None:
        """Read one text, or a list of 1 to `most`; an empty list is left out where it `may_be_empty`."""
        value = self.given(name)
        if value is None or (may_be_empty and value == []):
            return None
        if isinstance(value, str):
            return None if self.whole_text(name, value) is None else (value,)
        if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
            self._refused(name, value, "must be a string, or a list of strings", "send one or some")
            return None
        if len(value) > most:
            self._refused(name, f"{len(value)} strings", f"must be at most {most}", "send fewer at a time")
            return None
        read = [self.whole_text(f"{name}[{place}]", one) for place, one in enumerate(value)]
        return None if None in read else tuple(value)

    def whole_text(self, name: str, value: str) -> str | None:
        """Give `value` where it is text; halves of characters, which JSON can carry, are refused."""
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            problem = f"holds half a character (a lone surrogate) at place {error.start}"
            self._refused(name, value[error.start], problem, "send both halves, or the character itself")
            return None
        return value

    def part(self, name: str) -> Fields | None:
        """Read an object within this one; its faults are kept here."""
        value = self.given(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            self._refused(name, value, "must be an object", f'send {{"{name}": {{...}}}}')
            return None
        return Fields(value, where=self.place(name), faults=self.faults)

    def only(self, name: str, allowed: Sequence[Json], instead: str) -> None:
        """Take a field that is known but not offered where it says what happens anyway: one of `allowed`, or null."""
        value = self.given(name)
        if value is None or any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in allowed):
            return
        shown = " or ".join(json.dumps(one) for one in allowed)
        taken = f"only {shown} can be honoured here" if allowed else "is not offered here"
        self._refused(name, value, taken, f"leave it out; {instead}" if instead else "leave it out")

    def ignored(self, *names: str) -> None:
        """Know fields that change no answer, as who asks."""
        self._known.update(names)

    def check_known(self) -> None:
        """Keep a fault for each field that no reader asked for, with the nearest one that is known."""
        for name in self._values:
            if len(self.faults) >= MOST_FAULTS:
                return
            if name not in self._known:
                self._unknown(name)

    def _unknown(self, name: str) -> None:
        near = difflib.get_close_matches(name[:_SHOWN_NAME], sorted(self._known), n=1, cutoff=0.6)
        fix = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(self._known))}"
        self.fault(shown_name(name), "is not known here", fix)

    def _refused(self, name: str, found: Json, problem: str, fix: str) -> None:
        self.fault(name, problem, fix, found=found)


def read_object(body: bytes, *, where: str) -> dict[str, Json]:
    """Give the JSON object that `body` is.

    Raises:
        InvalidRequest: it is not UTF-8, no JSON, no object, or tells a name twice.
    """
    problem = ""
    value: Json = None
    try:
        value = json.loads(
            body.decode("utf-8-sig"), object_pairs_hook=_told_once, parse_constant=_refuse_constant, parse_float=_finite
        )
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8 at byte {error.start}"
    except RecursionError:
        problem = "is nested too deeply"
    except ValueError as error:
        problem = f"is not JSON: {str(error).splitlines()[0][:200]}"
    if not problem and not isinstance(value, dict):
        problem = f"must be a JSON object, not {_KINDS.get(type(value), 'null')}"
    if problem:
        start = body[:60].decode("utf-8", errors="backslashreplace")
        raise InvalidRequest(where=where, found=start, problem=problem, fix='send one as {"inputs": "text"}')
    return value  # type: ignore[no-any-return]


def raise_faults(faults: Sequence[Fault]) -> None:
    """Raise InvalidRequest with the first of `faults`, if there are any."""
    if faults:
        raise InvalidRequest.of(faults[:MOST_FAULTS])


def shown_name(name: str) -> str:
    """Give a field's name fit for a message: short, every character of it whole and visible."""
    cut = name if len(name) <= _SHOWN_NAME else name[:_SHOWN_NAME] + "..."
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in cut)


_KINDS = {list: "a list", str: "a string", int: "a number", float: "a number", bool: "true or false"}


def _told_once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise ValueError(f"{shown_name(twice)} is told twice")
    return values


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:40]} is too large a number")
    return number
