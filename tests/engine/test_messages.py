from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyropilot.engine import messages
from gyropilot.engine.engine import Ending, Message

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_every_json_value_comes_through(value):
    assert messages.decode(messages.encode("result", value).rstrip()) == Ending(outcome="result", result=value)


def test_numbers_of_arrays_and_paths_are_plain_values():
    line = messages.encode("result", {"score": np.float32(0.5), "count": np.int64(3), "folder": Path("a")})
    assert messages.decode(line).result == {"score": 0.5, "count": 3, "folder": "a"}


@pytest.mark.parametrize("value", [float("nan"), np.float32("inf"), {1, 2}, object(), "x" * messages.LARGEST_RESULT])
def test_what_is_no_json_is_refused(value):
    with pytest.raises(ValueError, match=r"JSON|bytes"):
        messages.encode("result", {"a": value})


def test_a_value_that_holds_itself_is_refused():
    value = []
    value.append(value)
    with pytest.raises(ValueError, match="Circular"):
        messages.encode("result", value)


@given(st.binary(max_size=300) | JSON.map(lambda value: messages.encode("result", value).replace(b"result", b"event")))
def test_no_line_does_more_than_be_refused(line):
    try:
        said = messages.decode(line)
    except messages.OutOfProtocol:
        return
    assert isinstance(said, (Message, Ending))


@given(st.sampled_from(["progress", "event", "heartbeat", "failure"]), JSON)
def test_a_body_has_exactly_its_fields_or_is_refused(kind, body):
    with pytest.raises(messages.OutOfProtocol):
        messages.decode(messages.encode(kind, body))


def test_finite_keeps_what_it_can():
    value = {"a": [1.0, float("nan"), (float("inf"), 2)], 3: None}
    assert messages.finite(value) == {"a": [1.0, None, [None, 2]], "3": None}
