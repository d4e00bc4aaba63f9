r"""The service model's patterns as Python regular expressions; called by `validate`.

The model writes them in Java's dialect. What Python reads otherwise is rewritten, character by character:

    \p{L} \p{Alnum}          Unicode categories and POSIX classes -> the ranges themselves
    \uD800\uDC00-\uDBFF\uDFFF    surrogate pairs in a class        -> the code points they stand for
    $ followed by {1,256}    a repeated anchor is the anchor      -> $
    .                        Java stops at five line ends         -> [^\n\r\x85\u2028\u2029]
    \z                       the very end                          -> \Z
    [a[b]] [a&&b]            classes combined                     -> refused, no pattern has them
    \w \d \s                 ASCII in Java                        -> re.ASCII

What cannot be rewritten raises ValueError; a test walks every pattern of the model, so that none is skipped.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import cache, lru_cache
from itertools import groupby

_SURROGATE_PAIR = re.compile(r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_REPEATED_ANCHOR = re.compile(r"\{\d+(,\d*)?\}")
_CATEGORY = re.compile(r"\\p\{(\w+)\}")
_ANY_BUT_LINE_END = r"[^\n\r\x85\u2028\u2029]"
_POSIX = {
    "Alnum": "0-9A-Za-z",
    "Alpha": "A-Za-z",
    "ASCII": r"\x00-\x7f",
    "Digit": "0-9",
    "Lower": "a-z",
    "Print": r"\x20-\x7e",
    "Upper": "A-Z",
}


def matches(pattern: str, text: str) -> bool:
    """Say whether the whole of `text` fits a pattern of the service model.

    Raises:
        ValueError: the pattern uses something that has no counterpart here.
    """
    return compiled(pattern).fullmatch(text) is not None


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """Give a pattern of the service model, compiled.

    Raises:
        ValueError: the pattern uses something that has no counterpart here.
    """
    try:
        return re.compile(_rewritten(pattern), re.ASCII)
    except re.error as error:
        raise ValueError(f"the pattern {pattern!r} has no Python counterpart: {error}") from error


def _rewritten(pattern: str) -> str:
    text = _SURROGATE_PAIR.sub(_code_point, pattern)
    pieces: list[str] = []
    piece_at = _piece_outside
    at = 0
    while at < len(text):
        piece, at = piece_at(text, at)
        if piece in ("[", "]"):
            piece_at = _piece_in_class if piece == "[" else _piece_outside
        pieces.append(piece)
    return "".join(pieces)


def _piece_outside(text: str, at: int) -> tuple[str, int]:
    """Give the rewritten piece of the pattern that begins at `at` outside of classes, and where the next one begins."""
    if category := _CATEGORY.match(text, at):
        return f"[{_ranges(category[1])}]", category.end()
    if text[at] == "\\":
        return text[at : at + 2].replace("\\z", "\\Z"), at + 2
    if text[at] == ".":
        return _ANY_BUT_LINE_END, at + 1
    if text[at] == "$":
        repeated = _REPEATED_ANCHOR.match(text, at + 1)
        return "$", repeated.end() if repeated else at + 1
    return text[at], at + 1


def _piece_in_class(text: str, at: int) -> tuple[str, int]:
    """Do the same inside of a character class."""
    if category := _CATEGORY.match(text, at):
        return _ranges(category[1]), category.end()
    if text[at] == "\\":
        return text[at : at + 2], at + 2
    if text[at] == "[" or text.startswith("&&", at):
        raise ValueError(f"the pattern {text!r} combines character classes")
    return text[at], at + 1


def _code_point(pair: re.Match[str]) -> str:
    high, low = int(pair[1], 16), int(pair[2], 16)
    return f"\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08x}"


def _ranges(name: str) -> str:
    """Give the characters of a Unicode category, as `L` or `Nd`, or of a POSIX class, as the inside of a class."""
    if name in _POSIX:
        return _POSIX[name]
    ranges = [f"\\U{first:08x}-\\U{last:08x}" for category, first, last in _categories() if category.startswith(name)]
    if not ranges:
        raise ValueError(f"there is no Unicode category {name!r}")
    return "".join(ranges)


@lru_cache(maxsize=1)
def _categories() -> tuple[tuple[str, int, int], ...]:
    """Give the runs of code points of one category: (category, first, last)."""
    runs = groupby(range(sys.maxunicode + 1), key=lambda code: unicodedata.category(chr(code)))
    spans = ((category, list(codes)) for category, codes in runs)
    return tuple((category, codes[0], codes[-1]) for category, codes in spans)
