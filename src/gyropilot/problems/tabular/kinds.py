"""What a column's fields mean: missing, number, time, category, text or sequence; told from the fields alone.

Fields come as text, whatever the file's format, and are read by the same rules in training and in serving. Every
function takes and gives Arrow arrays; importing this imports Arrow.

Missing       blank, or one of MISSING, spaces around it left out
Number        1, -2.5, 1e-3, 1,234.5, $5, 12 %; no number: 0x1f, 1_000. Infinities are read as missing
Time          ISO 8601 and its like, 3/14/2024 or 14/3/2024 (one order a column), 14.3.2024, Mar 14 2024, 14-Mar-2024
Sequence      three or more numbers with commas between them
Text          mostly words, seldom repeated
Category      all else
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gyropilot.problems.tabular.columns import ColumnKind

Arrow = Any
"""A value of pyarrow's, which ships no types."""

MISSING = ("NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NAN", "-nan", "NULL", "null", "NaT", "?")
"""Texts that stand for nothing in any column."""
NO_NUMBER = ("None", "none", "na", "-", "--", ".", "missing", "unknown", "Unknown", "nil")
"""Texts that stand for nothing in a column of numbers or times, and may be a category."""
SURE_SHARE = 0.95
"""How many of a column's fields must be of a kind; the others are read as missing."""
_MOST_STRAY = 20
"""Distinct fields of another kind that a column may have."""
_TEXT_WORDS = 3.0
_LEAST_TEXTS = 20
_CODE_DIGITS = 16
"""Whole numbers from so many digits on are codes: a float holds no more."""

_NUMBER = r"(?:(?:\d+|\d{1,3}(?:,\d{3})+)\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?"
_NUMBER_FORM = rf"^[+-]?[$€£]? ?{_NUMBER} ?%?$"
_INFINITE_FORM = r"^(?i:[+-]?inf(?:inity)?)$"
_SEQUENCE_FORM = (
    r"^\s*[\[(]?\s*[+-]?[\d.]+(?:[eE][+-]?\d+)?(?:\s*[,; ]\s*[+-]?[\d.]+(?:[eE][+-]?\d+)?){2,}\s*[\])]?\s*$"
)
_TIME_FORM = (
    r"^(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}|\d{1,2}[- ][A-Za-z]{3,9}[- ,]+\d{2,4}"
    r"|[A-Za-z]{3,9}\.? \d{1,2},? \d{4}|\d{8})(?:[T ]+\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?)?(?: ?[AaPp][Mm])?"
    r"(?: ?(?:Z|UTC|GMT|[+-]\d{2}:?\d{2}))?$"
)
_ZONE_FORM = r":\d{2}(?:\.\d+)? ?(?:Z|[+-]\d{2}:?\d{2})$"
_TRUE, _FALSE = pa.array(["True", "TRUE"]), pa.array(["False", "FALSE"])
_ALL_MISSING = pa.array(["", *MISSING])
_NO_VALUE = pa.scalar(None, pa.float64())


@dataclass(frozen=True, kw_only=True)
class ColumnFacts:
    """What the fields of one column are."""

    kind: ColumnKind
    day_first: bool
    rows: int
    missing: int
    """Fields that are blank or stand for nothing."""
    unique: int
    """Distinct fields that are not missing."""
    stray: int
    """Fields that are not of the column's kind and are read as missing, infinities among them."""
    strays: tuple[str, ...]
    """The first distinct ones."""
    infinite: int
    has_foreign: bool
    """Some of the stray ones are neither infinities nor words of NO_NUMBER."""
    is_distinct: bool
    """Each row has a field of its own, and there are some rows."""


def cleaned(fields: Arrow) -> Arrow:
    """Give string fields without the spaces around them, null where they are missing."""
    trimmed = pc.utf8_trim_whitespace(fields)
    return pc.if_else(pc.is_in(trimmed, value_set=_ALL_MISSING), pa.scalar(None, trimmed.type), trimmed)


def numbers(fields: Arrow) -> Arrow:
    """Give cleaned fields as float64; null where a field is missing, no number, or not finite."""
    try:
        values = fields.cast(pa.float64())  # much the faster way, and in most columns all that is needed
    except pa.ArrowInvalid:
        values = _written_numbers(fields)
    return pc.if_else(pc.is_finite(values), values, _NO_VALUE)


def times(fields: Arrow, *, day_first: bool) -> Arrow:
    """Give cleaned fields as timestamp[us] in UTC; null where a field is missing or no time from 1678 to 2261."""
    import pandas as pd

    encoded = fields.dictionary_encode()
    texts = encoded.dictionary.to_pandas().astype("object")
    # Apart: pandas gives a time without a zone that of the one before it.
    has_zone = texts.str.contains(_ZONE_FORM, regex=True)
    parts = [
        pd.to_datetime(one, format="ISO8601", errors="coerce", utc=True) for one in (texts[has_zone], texts[~has_zone])
    ]
    found = pd.concat(parts).sort_index()
    for form in _time_forms(day_first=day_first):
        if not found.isna().any():
            break
        found = found.fillna(pd.to_datetime(texts, format=form, errors="coerce", utc=True))
    values = pa.array(found.dt.tz_localize(None), pa.timestamp("ns"), from_pandas=True).cast(
        pa.timestamp("us"), safe=False
    )
    return values.take(encoded.indices)


def categories(fields: Arrow) -> Arrow:
    """Give cleaned fields with truth values written alike, as JSON writes them."""
    for words, word in ((_TRUE, "true"), (_FALSE, "false")):
        fields = pc.if_else(pc.is_in(fields, value_set=words), word, fields)
    return fields


def typed(fields: Arrow, kind: ColumnKind, *, day_first: bool) -> Arrow:
    """Give string fields as the values of a kind: float64, timestamp[us] or string; null where missing."""
    fields = cleaned(fields)
    if kind == "numeric":
        return numbers(fields)
    if kind == "datetime":
        return times(fields, day_first=day_first)
    return categories(fields) if kind == "categorical" else fields


def look(fields: Arrow, *, allow_sequence: bool, declared: ColumnKind | None = None) -> ColumnFacts:
    """Give what a column's string fields are.

    Args:
        fields: [row], as the files have them.
        allow_sequence: whether the kind may be told to be `sequence`.
        declared: the kind that the user named; None: it is inferred.
    """
    counts = pc.value_counts(cleaned(fields))
    texts, rows = counts.field("values"), counts.field("counts")
    present = pc.is_valid(texts)
    texts, rows = texts.filter(present), rows.filter(present)
    filled = pc.sum(rows).as_py() or 0
    kind, day_first = (declared, False) if declared else _kind(texts, rows, filled, allow_sequence=allow_sequence)
    if kind == "datetime":
        day_first = _is_day_first(texts)
    is_stray = _strays(texts, kind, day_first=day_first)
    is_foreign = foreign(texts, kind, day_first=day_first)
    infinite = pc.sum(rows.filter(pc.match_substring_regex(texts, _INFINITE_FORM))).as_py() or 0
    return ColumnFacts(
        kind=kind,
        day_first=day_first,
        rows=len(fields),
        missing=len(fields) - filled,
        unique=len(texts),
        stray=pc.sum(rows.filter(is_stray)).as_py() or 0,
        strays=tuple(texts.filter(is_stray)[:3].to_pylist()),
        infinite=infinite if kind == "numeric" else 0,
        has_foreign=bool(pc.any(is_foreign).as_py()),
        is_distinct=len(texts) == len(fields) >= _LEAST_TEXTS,
    )


def foreign(fields: Arrow, kind: ColumnKind, *, day_first: bool) -> Arrow:
    """Say which cleaned fields of a column of numbers or times are given, are none, and do not stand for nothing."""
    is_meant = pc.invert(pc.is_in(fields, value_set=pa.array(NO_NUMBER)))
    if kind == "numeric":
        is_meant = pc.and_(is_meant, pc.invert(pc.match_substring_regex(fields, _INFINITE_FORM)))
    is_given = pc.fill_null(pc.and_(pc.is_valid(fields), is_meant), False)  # noqa: FBT003 -- the scalar that fills
    return pc.and_(is_given, _strays(fields, kind, day_first=day_first))


def _written_numbers(fields: Arrow) -> Arrow:
    """Give fields as numbers, where some are no numbers or are written as people do."""
    is_number = pc.match_substring_regex(fields, _NUMBER_FORM)
    alone = pc.replace_substring_regex(pc.if_else(is_number, fields, None), r"[$€£,% ]", "")
    return alone.cast(pa.float64())


def _kind(texts: Arrow, rows: Arrow, filled: int, *, allow_sequence: bool) -> tuple[ColumnKind, bool]:
    if not filled:
        return "categorical", False
    meant = pc.invert(pc.is_in(texts, value_set=pa.array(NO_NUMBER)))
    texts, rows = texts.filter(meant), rows.filter(meant)
    if _are(texts, rows, pc.or_(pc.is_valid(numbers(texts)), pc.match_substring_regex(texts, _INFINITE_FORM))):
        return ("categorical" if _are_codes(texts) else "numeric"), False
    if allow_sequence and _are(texts, rows, pc.match_substring_regex(texts, _SEQUENCE_FORM)):
        return "sequence", False
    if _are(texts, rows, pc.match_substring_regex(texts, _TIME_FORM)):
        day_first = _is_day_first(texts)
        if _are(texts, rows, pc.is_valid(times(texts, day_first=day_first))):
            return "datetime", day_first
    return ("text" if _are_texts(texts, rows) else "categorical"), False


def _are(texts: Arrow, rows: Arrow, holds: Arrow) -> bool:
    """Say whether so many rows are of a kind that the column is; `holds` says which of the distinct fields are."""
    all_rows = pc.sum(rows).as_py() or 0
    its_rows = pc.sum(rows.filter(holds)).as_py() or 0
    stray = len(texts) - (pc.sum(holds).as_py() or 0)
    return its_rows > 0 and its_rows >= SURE_SHARE * all_rows and stray <= _MOST_STRAY


def _are_codes(texts: Arrow) -> bool:
    """Say whether what looks like numbers are codes: leading zeros, or more digits than numbers have."""
    digits = texts.filter(pc.match_substring_regex(texts, r"^\d+$"))
    if len(digits) < len(texts):
        return False
    lengths = pc.utf8_length(digits)
    has_zeros = pc.any(pc.match_substring_regex(digits, r"^0\d")).as_py()
    return bool(has_zeros) or pc.min(lengths).as_py() >= _CODE_DIGITS


def _are_texts(texts: Arrow, rows: Arrow) -> bool:
    words = pc.add(pc.count_substring_regex(texts, r"\s+"), 1)
    mean = pc.sum(pc.multiply(words, rows)).as_py() / pc.sum(rows).as_py()
    return bool(mean >= _TEXT_WORDS and len(texts) >= max(_LEAST_TEXTS, 0.05 * pc.sum(rows).as_py()))


def _is_day_first(texts: Arrow) -> bool:
    """Say whether of two leading numbers the first cannot be a month; where both can be, it is the month."""
    form = r"^(?P<first>\d{1,2})[-/]\d{1,2}[-/]"
    firsts = pc.extract_regex(texts.filter(pc.match_substring_regex(texts, form)), form).field("first")
    return len(firsts) > 0 and bool(pc.max(firsts.cast(pa.int64())).as_py() > 12)


def _strays(texts: Arrow, kind: ColumnKind, *, day_first: bool) -> Arrow:
    if kind in {"numeric", "datetime"}:
        return pc.is_null(typed(texts, kind, day_first=day_first))
    return pa.array([False] * len(texts), pa.bool_())


def _time_forms(*, day_first: bool) -> tuple[str, ...]:
    lead = "%d/%m" if day_first else "%m/%d"
    numbered = [f"{lead}/%Y", f"{lead}/%y", f"{lead}/%Y".replace("/", "-"), "%d.%m.%Y", "%Y.%m.%d", "%Y/%m/%d"]
    named = ["%b %d %Y", "%b %d, %Y", "%B %d %Y", "%B %d, %Y", "%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%d %B %Y"]
    clocks = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
    return tuple(f"{day}{clock}" for day in (*numbered, *named) for clock in clocks)
