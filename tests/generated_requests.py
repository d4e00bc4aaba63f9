"""Requests made from a service model, seeded: valid ones, ones with one fault, and bytes that are no request at all.

Maker(draw, known).valid(shape)        a value that fits the shape; names in `known` often come from there
broken(draw, shape, value)         --> (what was done, value, whether it must be refused)
wrecked(draw, body)                --> (what was done, bytes); all must be refused
"""

from __future__ import annotations

import copy
import json
import re
import re._constants as sre
import re._parser as sre_parser
import string
from functools import cache

from gyropilot.wire import patterns

MOST_ITEMS = 4
_TEXTS = (
    "", "x", "-", "a" * 1100, "x" * 70_000, "NUL\x00", "\x1b[31m", "line\nbreak", "\u202emirror", "\U0001f600" * 40,
    "\u0131", "' OR 1=1 --", "%s%n", "../../etc/passwd", "s3://", "s3:///x", "https://169.254.169.254/", "null", "NaN",
    "arn:aws:sagemaker", "${jndi:ldap://x}", "{{7*7}}", "\ufeff", "e\u0301", "\u0130", "\uffff",
)  # fmt: skip
_NUMBERS = (0, -1, 1, 2**31 - 1, 2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, -(2**63), 0.5, -0.0, 1e-320, 1e308, 10**15)
_OTHERS = (None, True, False, 0, 1.5, "text", [], {}, [None], [[]], {"a": None}, {"": {}})


class Maker:
    """Makes values that fit a shape of botocore's model."""

    def __init__(self, draw, known):
        self._draw = draw
        self._known = known

    def valid(self, shape, *, depth=0):
        make = getattr(self, f"_{shape.type_name}", None) or self._number
        return make(shape, depth)

    def member(self, name, shape, *, depth=0):
        """Give a value for the member `name`; one that is known to be there, more often than not."""
        if name in self._known and self._draw.random() < 0.8:
            return copy.deepcopy(self._draw.choice(self._known[name]))
        return self.valid(shape, depth=depth)

    def _structure(self, shape, depth):
        if getattr(shape, "is_document_type", False):
            return {"a": [1, "b", None]}
        if shape.is_tagged_union:
            names = [self._draw.choice(list(shape.members))]
        else:
            chance = 0.5 / (1 + depth)
            names = [one for one in shape.members if one in shape.required_members or self._draw.random() < chance]
        return {name: self.member(name, shape.members[name], depth=depth + 1) for name in names}

    def _list(self, shape, depth):
        least = shape.metadata.get("min", 0)
        most = min(shape.metadata.get("max", MOST_ITEMS), max(least, MOST_ITEMS))
        return [self.valid(shape.member, depth=depth + 1) for _ in range(self._draw.randint(least, most))]

    def _map(self, shape, depth):
        count = self._draw.randint(shape.metadata.get("min", 0), min(shape.metadata.get("max", MOST_ITEMS), MOST_ITEMS))
        return {self.valid(shape.key): self.valid(shape.value, depth=depth + 1) for _ in range(count)}

    def _string(self, shape, _depth):
        if shape.enum:
            return self._draw.choice(shape.enum)
        least, most = shape.metadata.get("min", 0), shape.metadata.get("max", 64)
        pattern = shape.metadata.get("pattern")
        if pattern is None:
            letters = string.ascii_letters + string.digits + " äß東_-./:"
            return "".join(self._draw.choices(letters, k=self._draw.randint(least, min(most, least + 20))))
        for _ in range(50):
            text = self._matching(_parsed(pattern))
            if least <= len(text) <= most and patterns.matches(pattern, text):  # looks are not made, but judged
                return text
        return "a" * max(1, least)

    def _boolean(self, _shape, _depth):
        return self._draw.random() < 0.5

    def _timestamp(self, _shape, _depth):
        return self._draw.choice((0, 1.5, 1_700_000_000, 1_700_000_000.123, 4_000_000_000))

    def _number(self, shape, _depth):
        least = shape.metadata.get("min", 0)
        most = shape.metadata.get("max", 1000)
        if shape.type_name in ("float", "double"):
            return self._draw.uniform(least, most)
        return self._draw.randint(least, max(least, most))

    def _matching(self, parsed):
        """Give a text that a parsed regular expression takes; what it may repeat, it repeats a few times."""
        return "".join(self._piece(kind, value) for kind, value in parsed)

    def _piece(self, kind, value):
        if kind is sre.LITERAL:
            return chr(value)
        if kind in (sre.ANY, sre.NOT_LITERAL):
            return "k"
        if kind is sre.IN:
            return self._of_class(value)
        if kind is sre.BRANCH:
            return self._matching(self._draw.choice(value[1]))
        if kind is sre.SUBPATTERN:
            return self._matching(value[-1])
        if kind in (sre.MAX_REPEAT, sre.MIN_REPEAT):
            least, most, inner = value
            return "".join(self._matching(inner) for _ in range(self._draw.randint(least, min(most, least + 8))))
        return ""  # anchors and looks

    def _of_class(self, members):
        if members[0][0] is sre.NEGATE:
            return "k"
        kind, value = self._draw.choice(members)
        if kind is sre.LITERAL:
            return chr(value)
        if kind is sre.RANGE:
            return chr(self._draw.randint(value[0], min(value[1], value[0] + 40)))
        return {sre.CATEGORY_DIGIT: "7", sre.CATEGORY_SPACE: " "}.get(value, "w")


@cache
def _parsed(pattern):
    return sre_parser.parse(patterns.compiled(pattern).pattern)


def broken(draw, shape, value):
    """Give the value with one fault somewhere; the last part says whether no server may take it."""
    places = list(_places(shape, value, ()))
    for _ in range(20):
        where, its_shape, found = draw.choice(places)
        kind = draw.choice(
            (_wrong_type, _wrong_type, _out_of_bounds, _odd_text, _no_enum, _missing, _stray, _null, _union)
        )
        made = kind(draw, its_shape, copy.deepcopy(found))
        if made is not None:
            changed, is_sure = made
            return (
                f"{kind.__name__.strip('_')} at {'.'.join(map(str, where)) or 'top'}",
                _put(value, where, changed),
                is_sure,
            )
    return "nothing", value, False


def _places(shape, value, where):
    yield where, shape, value
    if shape.type_name == "structure" and isinstance(value, dict):
        for name, inner in value.items():
            if name in shape.members:
                yield from _places(shape.members[name], inner, (*where, name))
    elif shape.type_name == "list":
        for number, inner in enumerate(value):
            yield from _places(shape.member, inner, (*where, number))
    elif shape.type_name == "map":
        for name, inner in value.items():
            yield from _places(shape.value, inner, (*where, name))


def _put(value, where, changed):
    if not where:
        return changed
    value = copy.copy(value)
    value[where[0]] = _put(value[where[0]], where[1:], changed)
    return value


def _wrong_type(draw, shape, value):
    if getattr(shape, "is_document_type", False):
        return None
    fits = {"structure": dict, "map": dict, "list": list, "string": str, "boolean": bool}.get(
        shape.type_name, (int, float)
    )
    changed = draw.choice([*_OTHERS, *_NUMBERS, *_TEXTS[:3]])
    is_sure = changed is not None and (
        not isinstance(changed, fits) or (fits is not bool and isinstance(changed, bool))
    )
    return changed, is_sure


def _out_of_bounds(draw, shape, value):
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if shape.type_name == "string":
        if most is not None and draw.random() < 0.7:
            return "a" * (most + draw.choice((1, 1000))), True
        return ("", True) if least else None
    if shape.type_name == "list":
        if most is not None and value:
            return (value * (most + 1))[: most + 1], True
        return ([], True) if least else None
    if shape.type_name in ("integer", "long", "float", "double"):
        changed = draw.choice(_NUMBERS)
        return changed, (most is not None and changed > most) or (least is not None and changed < least)
    return None


def _odd_text(draw, shape, value):
    if shape.type_name != "string":
        return None
    changed = draw.choice(_TEXTS)
    pattern = shape.metadata.get("pattern")
    return changed, pattern is not None and not patterns.matches(pattern, changed)


def _no_enum(draw, shape, value):
    if shape.type_name != "string" or not shape.enum:
        return None
    return draw.choice((value.lower() + "x", value.swapcase(), " " + value, "")), True


def _missing(draw, shape, value):
    if shape.type_name != "structure" or not isinstance(value, dict) or not shape.required_members:
        return None
    del value[draw.choice(sorted(shape.required_members))]
    return value, True


def _stray(draw, shape, value):
    if shape.type_name != "structure" or getattr(shape, "is_document_type", False):
        return None
    stray = draw.choice(("Stray", "stray", "__proto__", "", "__class__", next(iter(shape.members), "A").lower()))
    value[stray] = draw.choice((1, "x", {}, []))
    return value, stray not in shape.members


def _null(draw, shape, value):
    return None if shape.type_name != "list" or not value else ([*value, None], True)


def _union(draw, shape, value):
    if not getattr(shape, "is_tagged_union", False):
        return None
    if draw.random() < 0.5:
        return {}, True
    return {name: {} for name in draw.sample(list(shape.members), 2)}, True


def wrecked(draw, body):
    """Give bytes that are no request such as the protocol carries."""
    text = body.decode()
    value = '"x"' if "1" not in text else "1"
    given = {
        "truncated": body[: draw.randrange(1, max(2, len(body) - 1))] if len(body) > 2 else b"{",
        "trailing": body + draw.choice((b"x", b"{}", b",", b"\x00", b"]")),
        "no UTF-8": body[:1] + b'"\xff\xfe":1' + (b"," if len(body) > 2 else b"") + body[1:],
        "UTF-16": text.encode("utf-16"),
        "mark": b"\xef\xbb\xbf" + body,
        "lone surrogate": _with(text, r'"a":"\ud800"'),
        "lone surrogate in a name": _with(text, r'"\udfff":1'),
        "NaN": _with(text, f'"a":{draw.choice(("NaN", "Infinity", "-Infinity"))}'),
        "huge number": _with(text, f'"a":{draw.choice(("1e999", "-1e999", "9" * 40, "9" * 5000, "1e" + "9" * 50))}'),
        "odd number": _with(text, f'"a":{draw.choice(("01", "+1", ".5", "1.", "0x10", "1_000", "--1"))}'),
        "twice": _with(text, '"a":1,"a":2'),
        "deep": _with(text, '"a":' + "[" * (depth := draw.choice((40, 5_000, 100_000))) + "]" * depth),
        "deep and open": b'{"a":' + b"[" * 200_000,
        "deep objects": _with(text, '"a":' * 1 + '{"a":' * 3000 + "1" + "}" * 3000),
        "comment": _with(text, f'/* x */"a":{value}'),
        "single quotes": text.replace('"', "'").encode() + b"'",
        "control character": _with(text, '"a":"\x01"'),
        "other top": draw.choice((b"[]", b'"x"', b"1", b"null", b"true", b"[{}]")),
        "too long": b'{"a":"' + b"x" * (1024 * 1024) + b'"}',
        "noise": draw.randbytes(draw.choice((1, 20, 2000))),
        "compressed": b"\x1f\x8b\x08\x00" + draw.randbytes(200),
        "form": b"Action=ListAutoMLJobs&Version=2017-07-24",
    }
    what = draw.choice(list(given))
    return what, given[what]


def _with(text, member):
    rest = text[1:].lstrip()
    return ("{" + member + ("" if rest.startswith("}") else ",") + rest).encode()


def written(value):
    """Give a value as JSON bytes; a lone surrogate stays an escape."""
    return json.dumps(value, ensure_ascii=not _is_text(value)).encode()


def _is_text(value):
    return not re.search(r"[\ud800-\udfff]", json.dumps(value, ensure_ascii=False))
