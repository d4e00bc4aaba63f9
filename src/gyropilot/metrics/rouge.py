"""ROUGE-1, -2, -L and -Lsum between generated and reference texts; called by the evaluation of text generation.

Two ways to find the words of a text:
- `reference`: lower case, runs of a-z and 0-9, no stemming. Equal to the bit to the package rouge-score 0.1.2. Letters
  outside of ASCII are no letters to it: Hindi scores 0, and accents cut words.
- `unicode`: NFKC and case folding, runs of letters, marks and digits of every script; where a script sets no spaces
  between words (Chinese, Japanese, Thai and others) each character, its marks included, is a word; so is each emoji.
  On ASCII text it gives the same words as `reference`.

Source: C.-Y. Lin, ROUGE: A Package for Automatic Evaluation of Summaries, 2004; union LCS with clipped counts as in
rouge-score. The LCS runs on the bits of integers (H. Hyyrö, Bit-parallel LCS-length computation revisited, 2004).
"""

from __future__ import annotations

import math
import re
import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

Mode = Literal["reference", "unicode"]

_ASCII_WORDS = re.compile(r"[a-z0-9]+")
_SPACELESS = (
    *((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x1950, 0x19DF), (0x1A20, 0x1AAF), (0x1B00, 0x1B7F)),
    *((0x3005, 0x3007), (0x3040, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xA980, 0xA9FF)),
    *((0xAA60, 0xAA7F), (0xF900, 0xFAFF), (0x1B000, 0x1B16F), (0x20000, 0x323AF)),
)
"""Code points, both ends included, of scripts that set no spaces: Thai and Lao, Myanmar, Khmer, Tai, Balinese, Han,
Kana, Javanese."""
_SPACELESS_STARTS = tuple(start for start, _ in _SPACELESS)
_ZERO_WIDTH_SPACE = "\u200b"


@dataclass(frozen=True, kw_only=True)
class RougeScores:
    """F-measures in [0, 1], greater is better."""

    rouge1: float
    rouge2: float
    rougeL: float  # noqa: N815  # spelled as the metric is
    rougeLsum: float  # noqa: N815  # spelled as the metric is


def rouge(predictions: Sequence[str], references: Sequence[str], mode: Mode) -> RougeScores:
    """Give the mean over pairs of each F-measure; an empty prediction scores 0.

    Args:
        predictions: [pair], generated texts.
        references: [pair], the texts they should be.
        mode: how words are found.

    Raises:
        ValueError: there are no pairs, or not as many predictions as references.
    """
    pairs = list(zip(predictions, references, strict=True))
    if not pairs:
        raise ValueError("ROUGE of no pairs")
    scores = [score(prediction, reference, mode) for prediction, reference in pairs]
    return RougeScores(
        rouge1=_mean(one.rouge1 for one in scores),
        rouge2=_mean(one.rouge2 for one in scores),
        rougeL=_mean(one.rougeL for one in scores),
        rougeLsum=_mean(one.rougeLsum for one in scores),
    )


def score(prediction: str, reference: str, mode: Mode) -> RougeScores:
    """Give the F-measures of one pair. Sentences, for rougeLsum, end at line ends."""
    # each line's words are found on their own, as the whole text's words do not run over line ends either
    predicted_lines = [words(line, mode) for line in prediction.split("\n") if line]
    reference_lines = [words(line, mode) for line in reference.split("\n") if line]
    predicted = [word for line in predicted_lines for word in line]
    wanted = [word for line in reference_lines for word in line]
    return RougeScores(
        rouge1=_overlap(Counter(predicted), Counter(wanted)),
        rouge2=_overlap(Counter(pairwise(predicted)), Counter(pairwise(wanted))),
        rougeL=_of_lcs(predicted, wanted),
        rougeLsum=_of_union_lcs(predicted_lines, reference_lines),
    )


def words(text: str, mode: Mode) -> list[str]:
    """Give the words of a text."""
    if mode == "reference" or text.isascii():
        return _ASCII_WORDS.findall(text.lower())
    return _unicode_words(text)


def choose_mode(texts: Iterable[str]) -> Mode:
    """Give `unicode` if any text holds a letter, mark, digit or emoji outside of ASCII, else `reference`.

    On the texts that are plain ASCII the choice makes no difference.
    """
    for text in texts:
        if not text.isascii() and any(_is_foreign(character) for character in set(text)):
            return "unicode"
    return "reference"


def _is_foreign(character: str) -> bool:
    return not character.isascii() and (unicodedata.category(character)[0] in "LMN" or _is_symbol(character))


def _is_symbol(character: str) -> bool:
    return unicodedata.category(character) == "So"


def _unicode_words(text: str) -> list[str]:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    found: list[str] = []
    open_word: list[str] = []
    for character in folded:
        kind = unicodedata.category(character)
        if kind[0] == "M":
            if open_word:
                open_word.append(character)
            elif found and _stands_alone(found[-1][0]):
                found[-1] += character
        elif kind[0] in "LN" and not _stands_alone(character):
            open_word.append(character)
        elif kind == "Cf" and character != _ZERO_WIDTH_SPACE:
            continue  # joiners and soft hyphens stand inside words
        else:
            _close(open_word, found)
            if kind[0] in "LN" or kind == "So":
                found.append(character)
    _close(open_word, found)
    return found


def _close(open_word: list[str], found: list[str]) -> None:
    if open_word:
        found.append("".join(open_word))
        open_word.clear()


def _stands_alone(character: str) -> bool:
    code = ord(character)
    at = bisect_right(_SPACELESS_STARTS, code) - 1
    return at >= 0 and code <= _SPACELESS[at][1]


def _overlap(predicted: Counter[object], wanted: Counter[object]) -> float:
    hits = sum(min(count, predicted[key]) for key, count in wanted.items() if key in predicted)
    return _f_measure(hits, predicted.total(), wanted.total())


def _of_lcs(predicted: Sequence[str], wanted: Sequence[str]) -> float:
    if not predicted or not wanted:
        return 0.0
    return _f_measure(_zeros(_lcs_rows(wanted, predicted)[-1], len(predicted)), len(predicted), len(wanted))


def _of_union_lcs(predicted_lines: Sequence[Sequence[str]], reference_lines: Sequence[Sequence[str]]) -> float:
    predicted_left = Counter(word for line in predicted_lines for word in line)
    wanted_left = Counter(word for line in reference_lines for word in line)
    predicted_count, wanted_count = predicted_left.total(), wanted_left.total()
    if not predicted_count or not wanted_count:
        return 0.0
    hits = 0
    for reference in reference_lines:
        in_union = {at for line in predicted_lines for at in _lcs_places(reference, line)}
        for at in sorted(in_union):
            word = reference[at]
            # a word counts as often as both sides have it, however many lines it was matched in
            if predicted_left[word] > 0 and wanted_left[word] > 0:
                hits += 1
                predicted_left[word] -= 1
                wanted_left[word] -= 1
    return _f_measure(hits, predicted_count, wanted_count)


def _f_measure(hits: int, predicted_count: int, wanted_count: int) -> float:
    precision = hits / max(predicted_count, 1)
    recall = hits / max(wanted_count, 1)
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def _lcs_rows(left: Sequence[str], right: Sequence[str]) -> list[int]:
    """Give, for each prefix of `left` from the empty one, an integer over `right`.

    The length of the longest common subsequence of left[:i] and right[:j] is the number of 0 bits among the lowest j of
    rows[i].
    """
    places: dict[str, int] = {}
    for at, word in enumerate(right):
        places[word] = places.get(word, 0) | (1 << at)
    full = (1 << len(right)) - 1
    row = full
    rows = [row]
    for word in left:
        matched = row & places.get(word, 0)
        if matched:
            row = ((row + matched) | (row - matched)) & full
        rows.append(row)
    return rows


def _zeros(row: int, width: int) -> int:
    return width - (row & ((1 << width) - 1)).bit_count()


def _lcs_places(left: Sequence[str], right: Sequence[str]) -> list[int]:
    """Give the places in `left` of one longest common subsequence: of several the one that rouge-score picks."""
    rows = _lcs_rows(left, right)
    places = []
    i, j = len(left), len(right)
    while i > 0 and j > 0:
        if left[i - 1] == right[j - 1]:
            i -= 1
            j -= 1
            places.append(i)
        elif _zeros(rows[i], j - 1) > _zeros(rows[i - 1], j):
            j -= 1
        else:
            i -= 1
    return places


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed)
