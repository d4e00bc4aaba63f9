"""Finds what looks like a secret in a row's text; called by the problems before training, and where rows are shown.

A model learns its rows by heart: a key in them is a key given away. What is found is told by its kind alone; the text
itself goes nowhere. These are guesses by form, made to be seldom wrong: documented example keys are left out. No form
goes back over a text more than a bounded way, for rows may be made to take long.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

CARD = "payment card number"
_LEAST_ENTROPY = 3.2
"""Bits a character from which an assigned value counts as random; English words have less."""

_FORMS: tuple[tuple[str, tuple[str, ...], re.Pattern[str]], ...] = (
    ("AWS access key id", ("AKIA", "ASIA"), re.compile(r"\b(?:AKIA|ASIA)(?!\w*EXAMPLE)[A-Z2-7]{16}\b")),
    (
        "private key",
        ("PRIVATE KEY",),
        re.compile(r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,4}PRIVATE KEY(?: BLOCK)?-----[^-]*"),
    ),
    (
        "JSON web token",
        ("eyJ",),
        re.compile(r"(?<![\w-])eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{16,}"),
    ),
    (
        "GitHub token",
        ("gh", "github_pat_"),
        re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{40,})"),
    ),
    ("GitLab token", ("glpat-",), re.compile(r"\bglpat-[\w-]{20,}")),
    (
        "Slack token",
        ("xox", "hooks.slack.com"),
        re.compile(r"\bxox[abeoprs]-[\w-]{10,}|hooks\.slack\.com/services/T\w+/B\w+/\w+"),
    ),
    ("Stripe key", ("k_live_", "k_test_"), re.compile(r"\b[prs]k_(?:live|test)_[A-Za-z0-9]{16,}")),
    ("Hugging Face token", ("hf_",), re.compile(r"\bhf_[A-Za-z0-9]{30,}")),
    ("Google API key", ("AIza",), re.compile(r"\bAIza[\w-]{35}")),
    ("model service key", ("sk-",), re.compile(r"\bsk-(?:[a-z]{1,12}-){0,3}[A-Za-z0-9_]{24,}")),
    ("package index token", ("pypi-", "npm_"), re.compile(r"\b(?:pypi-AgE[\w-]{40,}|npm_[A-Za-z0-9]{36})")),
    (
        "password in a URL",
        ("://",),
        re.compile(r"\b[a-z][a-z0-9+.-]{0,20}://[^\s/:@]{1,100}:([^\s/:@]{6,200})@[\w.-]+"),
    ),
)
_NAMES = ("key", "secret", "token", "passw", "pwd", "credential")
_ASSIGNED = re.compile(
    r"(?i)(?:api[_-]?key|access[_-]?key|secret|token|passw(?:or)?d|pwd|credential)[\w-]{0,40}"
    r"['\"]?\s{0,4}(?:=|:|=>)\s{0,4}['\"]?([A-Za-z0-9+/_=.~!@#$%^&*-]{16,200})"
)
_CARD_DIGITS = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])")
_CARD_ISSUERS = re.compile(
    r"4\d{12}(?:\d{3})?|5[1-5]\d{14}|2(?:2[2-9]|[3-6]\d|7[01])\d{13}|3[47]\d{13}|6(?:011|5\d\d)\d{12}"
)


def kinds_in(text: str) -> tuple[str, ...]:
    """Give the kinds of secret that `text` seems to hold, each once, in no order of place."""
    return tuple(dict.fromkeys(kind for kind, _, _ in _places(text)))


def masked(text: str) -> str:
    """Give `text` with every seeming secret written as its kind, as `[AWS access key id]`."""
    shown, at = "", 0
    for kind, start, end in sorted(_places(text), key=lambda place: place[1:]):
        if start < at:
            continue
        shown += f"{text[at:start]}[{kind}]"
        at = end
    return shown + text[at:]


def _places(text: str) -> Iterator[tuple[str, int, int]]:
    """Give (kind, start, end) of each; searching a text for a few words first is much cheaper than the forms."""
    for kind, words, form in _FORMS:
        if any(word in text for word in words):
            for found in form.finditer(text):
                yield kind, *found.span(form.groups)
    lowered = text.lower()
    if any(name in lowered for name in _NAMES):
        for found in _ASSIGNED.finditer(text):
            if _is_random(found[1]):
                yield "assigned secret", *found.span(1)
    for found in _CARD_DIGITS.finditer(text):
        if _is_card(found[0]):
            yield CARD, *found.span()


def _is_random(value: str) -> bool:
    """Say whether a value looks drawn by a machine: digits and letters mixed, few repeats, no placeholder."""
    has_both = any(one.isdigit() for one in value) and any(one.isalpha() for one in value)
    return has_both and "EXAMPLE" not in value and _entropy(value) >= _LEAST_ENTROPY


def _entropy(value: str) -> float:
    shares = [count / len(value) for count in Counter(value).values()]
    return -sum(share * math.log2(share) for share in shares)


def _is_card(text: str) -> bool:
    digits = text.replace(" ", "").replace("-", "")
    if not _CARD_ISSUERS.fullmatch(digits) or len(set(digits)) < 2:
        return False
    doubled = [int(one) * (2 if place % 2 else 1) for place, one in enumerate(reversed(digits))]
    return sum(one - 9 if one > 9 else one for one in doubled) % 10 == 0
