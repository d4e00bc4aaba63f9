"""Bodies that are read, and bodies that are refused before anything looks at them."""

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyropilot.errors import MalformedRequest, RequestTooLarge
from gyropilot.wire.parse import MAX_BODY_BYTES, MAX_DEPTH, read_body

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(st.dictionaries(st.text(), VALUES, max_size=5))
def test_what_json_writes_is_read_back(value):
    assert read_body(json.dumps(value).encode()) == value


@pytest.mark.parametrize("body", [b"", b"{}", b" \n{ } "])
def test_no_input_is_an_empty_object(body):
    assert read_body(body) == {}


@pytest.mark.parametrize(
    "body",
    [b"[]", b"null", b'"text"', b"1", b"{", b"{'a':1}", b'{"a":1,}', b'{"a":NaN}', b'{"a":Infinity}',
     b'{"a":-Infinity}', b'{"a":1e999}', b'{"a":9223372036854775808}', b'{"a":-9223372036854775809}',
     b'{"a":' + b"9" * 5000 + b"}",
     b'{"a":1,"a":2}', b'{"b":{"a":1,"\\u0061":2}}', b'{"a":"\\ud800"}', b'{"\\udfff":1}', b'{"a":["\\ud800"]}',
     b'\xef\xbb\xbf{}', b'{"a":"\xff"}', b'{"a":"\xed\xa0\x80"}', b'{"a":"line\nbreak"}', b"{}{}", b"{} x",
     b" ", b"\x0b", b'{"a":' * 5000, b"[" * 100_000, b'{"a":01}', b'{"a":+1}', b'{"a":.5}'],
)  # fmt: skip
def test_what_is_not_the_protocol_s_json_is_refused(body):
    with pytest.raises(MalformedRequest):
        read_body(body)


def test_objects_may_be_nested_to_the_limit_and_not_beyond():
    def nested(depth):
        return b'{"a":' * depth + b"1" + b"}" * depth

    assert read_body(nested(MAX_DEPTH))
    with pytest.raises(MalformedRequest, match="deeper"):
        read_body(nested(MAX_DEPTH + 1))
    with pytest.raises(MalformedRequest, match="deeper"):
        read_body(b'{"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}")


def test_a_body_may_be_long_to_the_limit_and_not_beyond():
    body = b'{"a":"' + b"x" * (MAX_BODY_BYTES - 8) + b'"}'
    assert read_body(body)
    with pytest.raises(RequestTooLarge):
        read_body(body + b" ")


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":[' + b"[]," * 300_000 + b"[]]}",
        b"{" + b",".join(b'"%d":0' % n for n in range(100_000)) + b"}",
        b"{" + b",".join(b'"a":%d' % n for n in range(100_000)) + b"}",
    ],
)
def test_a_body_cannot_swell_much_in_memory(body):
    tracemalloc.start()
    try:
        read_body(body)
    except MalformedRequest:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 80 * MAX_BODY_BYTES
