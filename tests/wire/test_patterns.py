"""The model's patterns, in Java's dialect, as Python reads them."""

import re
import time

import pytest

from gyropilot.wire import service_model
from gyropilot.wire.patterns import compiled, matches

TAG = r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)"
SURROGATES = r"[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\t]*"


def _patterns(names=lambda name: True):
    model = service_model.load("sagemaker", names)
    roots = [shape for one in model.operations.values() for shape in (one.input, one.output) if shape]
    shapes = service_model.shapes_below(roots).values()
    return sorted({shape.pattern for shape in shapes if shape.pattern is not None})


def test_every_pattern_of_the_model_compiles():
    patterns = _patterns()
    assert len(patterns) > 200
    for pattern in patterns:
        assert isinstance(compiled(pattern), re.Pattern)


@pytest.mark.parametrize(
    ("pattern", "fitting", "unfitting"),
    [
        (TAG, ["", "team", "Zürich 東京", "a_b.c:d/e=f+g-h@i", "٣", "\u2028"], ["a!", "a\n", "{}", "tab\t", "é<"]),
        (r"[\p{L}\p{M}\p{S}\p{N}\p{P}]+", ["e\u0301", "€", "!"], ["a b", "\x00", ""]),
        (r"arn:[\p{Alnum}\-]+:lambda", ["arn:aws-cn:lambda"], ["arn:aws_cn:lambda", "arn:ä:lambda"]),
        (SURROGATES, ["text\t", "\U0001f600", "\uffee"], ["\x1f", "\n", "\ufffe"]),
        (r"([\p{L}\p{Z}\p{N}_.:\/=+\-@]*)${1,128}", ["a/b", ""], ["a!", "a${"]),
        (r"(^p[1-9]\d?$)", ["p1", "p99"], ["p0", "p100", "p1\n", "P1", "p\u0663"]),
        (r".*", ["", "any thing"], ["a\nb", "a\rb", "a\u2028b", "a\x85b"]),
        (r"[\S\s]*", ["a\nb"], []),
        (r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,31}", ["a", "a-b", "A--b9"], ["", "-a", "a-", "a_b", "a\n", "ä"]),
        (r"1Y|Y|([1-9]|1[0-1])M|M", ["1Y", "Y", "11M"], ["1Yx", "12M", ""]),
        (r"\d{12}", ["123456789012"], ["١٢٣٤٥٦٧٨٩٠١٢"]),
        (r"a\.b", ["a.b"], ["axb"]),
        (r"[.$]", [".", "$"], ["x"]),
    ],
)
def test_a_pattern_takes_and_refuses_as_in_java(pattern, fitting, unfitting):
    assert [text for text in fitting if not matches(pattern, text)] == []
    assert [text for text in unfitting if matches(pattern, text)] == []


@pytest.mark.parametrize("pattern", [r"[a[b]]", r"[a-z&&[^b]]", r"\p{NoSuchThing}", r"(", r"a{2,1}"])
def test_a_pattern_without_a_counterpart_is_told(pattern):
    with pytest.raises(ValueError, match=r"pattern|category"):
        compiled(pattern)


def test_no_pattern_in_scope_hangs_on_hostile_text():
    hostile = ["a" * 8000, "-" * 8000, "a-" * 4000, "arn:aws" + "-a" * 3000, "s3://" + "/" * 8000, "a" * 8000 + "!"]
    for pattern in _patterns(lambda name: "AutoMLJob" in name):
        for text in hostile:
            started_at = time.perf_counter()
            matches(pattern, text)
            assert time.perf_counter() - started_at < 1, pattern
