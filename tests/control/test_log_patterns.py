import pytest

from gyropilot.control import log_patterns
from gyropilot.errors import InvalidRequest

LINES = ["error: out of memory", "error: retry 3", "a warn", "fine"]


@pytest.mark.parametrize(
    ("pattern", "passing"),
    [
        ("", LINES),
        ("error", LINES[:2]),
        ("Error", []),
        ('"out of memory"', LINES[:1]),
        ('error -"out of"', LINES[1:2]),
        ("?warn ?retry", LINES[1:3]),
        ("error ?retry ?memory", LINES[:2]),
        (r'"out\ of"', LINES[:1]),
    ],
)
def test_words_phrases_and_their_absence_choose_lines(pattern, passing):
    passes = log_patterns.read(pattern)
    assert [line for line in LINES if passes(line)] == passing


@pytest.mark.parametrize("pattern", ['{ $.a = "b" }', "[a, b]", "%re%", '"open', "a | b"])
def test_patterns_of_other_kinds_are_refused_by_name(pattern):
    with pytest.raises(InvalidRequest, match=r"filterPattern: is a kind of pattern that is not read here .*; write"):
        log_patterns.read(pattern)
