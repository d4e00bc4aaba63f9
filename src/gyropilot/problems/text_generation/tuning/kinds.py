"""What a parameter's value may be: how it is read from JSON or Python, and from a text of 16 characters; used by
parameters.py.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, Protocol

Json = Any

MOST_MEMBERS = 100
"""What a list or an object may hold; there is no use for more."""
_WHOLE = re.compile(r"-?[0-9]{1,16}")
_DECIMAL = re.compile(r"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)


class Unfit(Exception):
    """A value is not what its parameter takes; the message goes on after the parameter's name: `is not ...`."""

    def __init__(self, problem: str, *, fix: str = "") -> None:
        super().__init__(problem)
        self.problem, self.fix = problem, fix


class Kind(Protocol):
    """What a value may be."""

    @property
    def accepted(self) -> str:
        """Say what is taken, as it follows `give`."""

    def read(self, value: Json) -> Json:
        """Give the value that a value of JSON or Python stands for; raises Unfit."""

    def read_text(self, text: str) -> Json:
        """Give the value that a text stands for; raises Unfit."""


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A whole number; a truth is none, a number with a fraction part is none."""

    lowest: int
    highest: int | None = None

    @property
    def accepted(self) -> str:
        """Say what is taken."""
        return f"an integer {_range(self.lowest, self.highest)}"

    def read(self, value: Json) -> int:
        """Give an int within the range."""
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise Unfit("is not an integer")
        return int(_within(int(value), self.lowest, self.highest))

    def read_text(self, text: str) -> int:
        """Give an int within the range, of decimal digits."""
        if not _WHOLE.fullmatch(text):
            raise Unfit(_no_number(text, "an integer"))
        return self.read(int(text))


@dataclass(frozen=True, kw_only=True)
class Number:
    """A finite number; whole ones will do."""

    lowest: float
    highest: float | None = None
    above: bool = False
    """The lowest itself is not taken."""
    below: bool = False
    """The highest itself is not taken."""

    @property
    def accepted(self) -> str:
        """Say what is taken."""
        if self.above and self.highest is None:
            return f"a float above {self.lowest:g}"
        end = f", {self.highest:g} itself left out" if self.below else ""
        return f"a float {_range(self.lowest, self.highest)}{end}"

    def read(self, value: Json) -> float:
        """Give a float within the range."""
        if isinstance(value, bool) or not isinstance(value, Real):
            raise Unfit("is not a float")
        try:
            found = float(value)
        except OverflowError:
            found = math.inf
        if not math.isfinite(found):
            raise Unfit("is not a finite number")
        if (self.above and found <= self.lowest) or (self.below and found == self.highest):
            raise Unfit(f"is not {self.accepted.removeprefix('a float ')}")
        return _within(found, self.lowest, self.highest)

    def read_text(self, text: str) -> float:
        """Give a float within the range, of decimal notation."""
        if not _DECIMAL.fullmatch(text):
            raise Unfit(_no_number(text, "a float"))
        found = float(text)
        return self.read(found if math.isfinite(found) else math.copysign(1e308, found))


@dataclass(frozen=True, kw_only=True)
class Word:
    """One of some words, spelled as they stand."""

    words: tuple[str, ...]
    also: Mapping[str, str] = field(default_factory=dict)
    """Other spellings, and what each stands for."""
    pattern: str = ""
    """Further words: a regular expression."""
    told: str = ""
    """How the words of the pattern are told."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Words that one might expect, and why they are not taken."""

    @property
    def accepted(self) -> str:
        """Say what is taken."""
        return f"one of {', '.join((*self.words, *([self.told] if self.told else [])))}"

    def read(self, value: Json) -> str:
        """Give the word in the spelling of `words`."""
        if not isinstance(value, str):
            raise Unfit("is not a text")
        found = self.also.get(value, value)
        if found in self.words or (self.pattern and re.fullmatch(self.pattern, found)):
            return str(found)
        if why := self.refused.get(found.upper()):
            raise Unfit(f"is not taken: it {why}")
        raise Unfit("is none of those known here", fix=nearest(found, (*self.words, *self.also)))

    def read_text(self, text: str) -> str:
        """Give the word in the spelling of `words`."""
        return self.read(text)


@dataclass(frozen=True, kw_only=True)
class Words:
    """Several of some words, none twice; where `words` is empty, any names that fit `pattern`."""

    words: tuple[str, ...] = ()
    pattern: str = r"[A-Za-z0-9_]{1,64}"
    told: str = ""

    @property
    def accepted(self) -> str:
        """Say what is taken."""
        return f"a list of {self.told or ' and '.join(self.words)}, none twice"

    def read(self, value: Json) -> tuple[str, ...]:
        """Give the words in the order of `words`."""
        if not isinstance(value, (list, tuple)) or not all(isinstance(one, str) for one in value):
            raise Unfit("is not a list of texts")
        if not 0 < len(value) <= MOST_MEMBERS:
            raise Unfit(f"has {len(value)} members, and may have 1 to {MOST_MEMBERS}")
        for one in value:
            if (self.words and one not in self.words) or not re.fullmatch(self.pattern, one):
                raise Unfit(f"holds {one[:40]!r}, which is none of those known here")
            if value.count(one) > 1:
                raise Unfit(f"holds {one!r} more than once")
        return tuple(sorted(value, key=self.words.index)) if self.words else tuple(value)

    def read_text(self, text: str) -> tuple[str, ...]:
        """Give the words, which stand with hyphens between them."""
        return self.read(text.split("-"))


@dataclass(frozen=True, kw_only=True)
class Text:
    """A text that is not blank."""

    pattern: str = ""
    """What it must look like: a regular expression."""
    told: str = "a text that is not blank"

    @property
    def accepted(self) -> str:
        """Say what is taken."""
        return self.told

    def read(self, value: Json) -> str:
        """Give the text."""
        if not isinstance(value, str):
            raise Unfit("is not a text")
        if not value.strip():
            raise Unfit("is empty")
        if not _is_unicode(value):
            raise Unfit("is no Unicode text: it holds half a surrogate pair")
        if self.pattern and not re.fullmatch(self.pattern, value):
            raise Unfit(f"is not {self.told}")
        return value

    def read_text(self, text: str) -> str:
        """Give the text."""
        return self.read(text)


@dataclass(frozen=True)
class Truth:
    """True or false."""

    @property
    def accepted(self) -> str:
        """Say what is taken."""
        return "true or false"

    def read(self, value: Json) -> bool:
        """Give a bool; numbers and words are none."""
        if not isinstance(value, bool):
            raise Unfit("is not true or false")
        return value

    def read_text(self, text: str) -> bool:
        """Give a bool of `true` or `false`."""
        if text not in {"true", "false"}:
            raise Unfit("is not true or false")
        return text == "true"


@dataclass(frozen=True)
class Settings:
    """Names with values; what each may be is the matter of whoever knows the names."""

    @property
    def accepted(self) -> str:
        """Say what is taken."""
        return "an object of names and values"

    def read(self, value: Json) -> dict[str, Json]:
        """Give the names with their values."""
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            raise Unfit("is not an object of names and values")
        if len(value) > MOST_MEMBERS:
            raise Unfit(f"has {len(value)} members, and may have {MOST_MEMBERS}")
        return dict(value)

    def read_text(self, text: str) -> dict[str, Json]:
        """Refuse: a text holds none."""
        raise Unfit("is not an object of names and values")


def nearest(found: str, known: Iterable[str]) -> str:
    """Give a question that names the known word nearest to one that was found, or nothing where none is near."""
    folded = {_folded(word): word for word in known}
    near = difflib.get_close_matches(_folded(found), folded, n=1, cutoff=0.5)
    return f"did you mean {folded[near[0]]}? " if near else ""


def _folded(word: str) -> str:
    return word.lower().replace("_", "").replace("-", "")


def _range(lowest: float, highest: float | None) -> str:
    return f"from {lowest:g} up" if highest is None else f"from {_plain(lowest)} to {_plain(highest)}"


def _within(value: float, lowest: float, highest: float | None) -> float:
    if value < lowest or (highest is not None and value > highest):
        raise Unfit(
            f"is below {_plain(lowest)}" if highest is None else f"is outside {_plain(lowest)} to {_plain(highest)}"
        )
    return value


def _plain(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def _no_number(text: str, kind: str) -> str:
    return "is not a finite number" if _NOT_FINITE.fullmatch(text) else f"is not {kind}"


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
