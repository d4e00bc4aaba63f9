"""Payloads of tabular endpoints: every form gives the same rows, and what does not fit is refused by its place."""

from __future__ import annotations

import json
import threading

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from gyropilot.errors import InvalidRequest, Unavailable
from gyropilot.problems.contract import Call
from gyropilot.problems.tabular.columns import Column, Schema
from gyropilot.problems.tabular.serving import payloads

LINES = "application/jsonlines"
SCHEMA = Schema(
    features=(
        Column(name="tenure", kind="numeric"),
        Column(name="plan, or tariff", kind="categorical"),
        Column(name="joined", kind="datetime"),
        Column(name="use", kind="sequence"),
    ),
    target="churn",
    weight="times",
    problem_type="BinaryClassification",
    labels=("no", "yes"),
)
ONE = Schema(
    features=(Column(name="x", kind="numeric"),), target="y", weight=None, problem_type="Regression", labels=()
)
NAMES = ",".join(f'"{one}"' for one in SCHEMA.names)
ROWS = b'12.5,"basic, ""old""",2024-03-01,"1,2,3"\n,,,\n'
OBJECTS = [
    {"tenure": 12.5, "plan, or tariff": 'basic, "old"', "joined": "2024-03-01", "use": "1,2,3"},
    dict.fromkeys(SCHEMA.names),
]


def call(body, content_type="text/csv", **more):
    return Call(body=body, content_type=content_type, accept="", **more)


def read(body, content_type="text/csv", schema=SCHEMA):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    one = call(body, content_type)
    return pd.concat(list(payloads.read(one, schema).frames(one)), ignore_index=True)


def refusal(body, content_type="text/csv", schema=SCHEMA):
    with pytest.raises(InvalidRequest) as caught:
        read(body, content_type, schema)
    return str(caught.value)


@pytest.fixture
def frame():
    return read(ROWS)


def test_rows_of_csv_are_typed_by_their_columns(frame):
    assert [str(one) for one in frame.dtypes] == ["float64", "object", "datetime64[ns]", "object"]
    assert frame.iloc[0].tolist() == [12.5, 'basic, "old"', pd.Timestamp("2024-03-01"), "1,2,3"]
    assert frame.iloc[1].isna().all()


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (ROWS, ""),
        (ROWS, "application/octet-stream"),
        (ROWS.replace(b"\n", b"\r\n"), "text/csv"),
        (b"\xef\xbb\xbf" + ROWS + b"\n\r\n", "text/csv"),
        (NAMES.encode() + b"\n" + ROWS, "text/csv"),
        ({"instances": OBJECTS}, "application/json"),
        ({"instances": [{"features": list(one.values())} for one in OBJECTS]}, "application/json"),
        ([list(one.values()) for one in OBJECTS], "application/json"),
        (OBJECTS, "application/json"),
        ([{**OBJECTS[0], "churn": "yes", "times": 2}, {"use": None}], "application/json"),
        ([{**OBJECTS[0], "use": [1, 2, 3]}, OBJECTS[1]], "application/json"),
        ([{**OBJECTS[0], "tenure": "12.50"}, {**OBJECTS[1], "tenure": float("nan")}], "application/json"),
        (b"\n".join(json.dumps(one).encode() for one in OBJECTS), LINES),
        (json.dumps(list(OBJECTS[0].values())).encode() + b'\n\n{"features": [null, null, null, null]}\n', LINES),
    ],
)
def test_every_form_gives_the_same_rows(frame, body, content_type):
    assert_frame_equal(read(body, content_type), frame)


@pytest.mark.parametrize(
    "form", [lambda one: one, lambda one: {"features": list(one.values())}, lambda one: [*one.values()]]
)
def test_one_row_of_json_needs_no_list_around_it(frame, form):
    assert_frame_equal(read(form(OBJECTS[0]), "application/json"), frame[:1])


def test_a_first_row_that_is_no_header_is_a_row():
    assert len(read(b"1,tenure,2024-01-01,joined\n2,b,,\n")) == 2


def test_an_empty_line_is_a_row_where_there_is_one_feature():
    assert read(b"1\n\n3\n", schema=ONE)["x"].isna().tolist() == [False, True, False]
    assert read(b"x\n1\n", schema=ONE)["x"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", ["rows: there are none"]),
        (b"\n\n", ["rows: there are none"]),
        (NAMES.encode(), ["there are none beside the header"]),
        (
            b"1,a,,\n1,a\n2,b,,\n,,,,\n",
            ["row 2: has 2 columns, and the model takes 4", "row 4: has 5 columns", "joined"],
        ),
        (b"1\n", ["row 1: has 1 column, and the model takes 4"]),
        (b"1,a,,,no\n", ["row 1: has 5 columns", "in this order, without churn and times: tenure, plan, or tariff"]),
        (b"1,a,,\n\n2,b,,\n", ["row 2: has 0 columns"]),
        (b'1,"a,,\n', ["row 1: is no row of CSV"]),
        (b"1,a,,\n1,\xe4,,\n", ["line 2: is not UTF-8 at byte 8"]),
        (b"1,a\0,,\n", ["line 1: holds a NUL"]),
        (b"tenure,plan,joined,use\n1,a,,\n", ["row 1: is a header that does not fit", "lacks plan, or tariff"]),
        (
            b'tenure,"plan, or tariff",joined,use,churn\n1,a,,,no\n',
            ["has beside the features churn", "is what the model"],
        ),
        (b'use,joined,"plan, or tariff",tenure\n,,,\n', ["in another order", "in this order: tenure, plan, or tariff"]),
        (b'tenure,"plan, or tariff",joined,joined\n1,a,,\n', ["tells twice joined", "lacks use"]),
    ],
)
def test_csv_that_does_not_fit_is_refused_by_row_and_column(body, words):
    told = refusal(body)
    assert all(word in told for word in words), told


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", ["payload: is not JSON"]),
        (b"{", ["payload: is not JSON"]),
        (b"1,2,3,4\n", ["is not JSON", "rows of CSV are of type text/csv"]),
        (b'{"tenure": 1}\n{"tenure": 2}\n', ["is not JSON", "a line with the content type application/jsonlines"]),
        (b"\xff", ["payload: is not UTF-8"]),
        (b"[" * 100_000, ["is nested too deeply"]),
        ([], ["rows: there are none"]),
        ({"instances": []}, ["rows: there are none"]),
        ({"instances": {}}, ["instances: must be a list, not an object"]),
        ({"instances": [[1, "a", None, None]], "signature": "x"}, ["signature: is not known here"]),
        (7, ["payload: must be a list, not a number"]),
        (None, ["payload: must be a list, not null"]),
        ([[1, "a", None, None], 3], ["row 2: must be an object or a list, not a number"]),
        ([[1, "a"], {"features": [1] * 5}], ["row 1: has 2 values, and the model takes 4", "row 2: has 5 values"]),
        ([{"tenure": 1}, {"tenur": 1}], ["row 2: tenur: is no column", "did you mean tenure?"]),
        ([{}], ["row 1: has none of the model's features"]),
        ([{"tenure": [1]}], ["row 1: tenure: must be a text, a number", "not a list"]),
        ([{"plan, or tariff": {"a": 1}}], ["row 1: plan, or tariff: must be a text", "not an object"]),
        (b'[{"tenure": 1, "tenure": 2}]', ["tenure is told twice"]),
        (b'[{"tenure": Infinity}]', ["Infinity is no number of JSON"]),
        (b'[{"tenure": 1e999}]', ["1e999 is too large"]),
        (b'[{"plan, or tariff": "\\ud83d"}]', ["row 1: plan, or tariff: holds half a character"]),
        (b'[{"\\ud83d": 1}]', ["is no column"]),
    ],
)
def test_json_that_does_not_fit_is_refused_by_row_and_column(body, words):
    told = refusal(body, "application/json")
    assert all(word in told for word in words), told
    told.encode()


def test_lines_are_named_by_their_number():
    told = refusal(b'{"tenure": 1}\n\n[1, 2]\n{"use": {}}\n', LINES)
    assert "line 3: has 2 values" in told
    assert "line 4: use: must be" in told
    assert "line 2: is not JSON" in refusal(b'{"tenure": 1}\n{"tenure": \n', LINES)


def test_no_more_than_some_faults_are_told():
    wider = b"".join(b"1" + b"," * (more + 4) + b"\n" for more in range(1000))
    assert refusal(wider).count("columns, and the model takes 4") == 20
    assert len(refusal([{f"n{place}": 1 for place in range(5000)}], "application/json")) < 5000


def test_another_content_type_is_refused():
    assert "ContentType: is not taken here (found 'text/html')" in refusal(b"1", "text/html")


def test_rows_are_typed_some_at_a_time_and_counted_through(monkeypatch, frame):
    monkeypatch.setattr(payloads, "ROWS_AT_ONCE", 2)
    numbers = Schema(
        features=(Column(name="a", kind="numeric"), Column(name="b", kind="numeric")),
        target="y",
        weight=None,
        problem_type="Regression",
        labels=(),
    )
    assert read(b"1,2\n" * 5, schema=numbers)["a"].tolist() == [1.0] * 5
    assert "row 5, column 'a'" in refusal(b"1,2\n" * 4 + b"red,blue\n", schema=numbers)
    assert "row 6, column 'a'" in refusal(b"a,b\n" + b"1,2\n" * 4 + b"red,blue\n", schema=numbers)


def test_nothing_is_read_on_once_nobody_waits():
    gone = threading.Event()
    gone.set()
    one = call(ROWS, cancelled=gone)
    with pytest.raises(Unavailable):
        list(payloads.read(one, SCHEMA).frames(one))


def test_spaces_round_a_name_do_not_count_as_in_the_header(frame):
    rows = [{f" {name}": value for name, value in row.items()} for row in OBJECTS]
    assert_frame_equal(read(rows, "application/json"), frame)
    told = refusal([{"tenure": 1, "tenure ": 2}], "application/json")
    assert "row 1: 'tenure ': is told twice" in told


def test_what_is_wrong_with_many_rows_alike_is_told_once():
    told = refusal(b"1,a\n" * 9)
    assert told.startswith("row 1 (and row 2, row 3, row 4, row 5, row 6 and others): has 2 columns")
    assert told.count("in this order") == 1


def test_a_form_that_others_take_is_told_from_a_column_that_there_is_not():
    rows = {"data": [[1, "a", None, None]]}
    told = refusal(rows, "application/json")
    assert "row 1: data: is no column" in told
    assert 'send {"instances": [{"features": [...]}, ...]}' in told
    told = refusal({"id": 7, "features": [1, "a", None, None]}, "application/json")
    assert "row 1: features: is a whole row, and other names stand beside it" in told
    assert "row 1: id: is no column of the model's data; leave it out" in told


@pytest.mark.parametrize("body", [b"7\n", b"{\n", b'{"instances": [[1, "a", null, null]]}\n'])
def test_no_instances_are_advised_to_who_sends_lines(body):
    told = refusal(body, LINES)
    assert "send a row a line" in told
    assert 'send {"instances"' not in told
