from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pyarrow as pa
import pytest

from gyropilot.errors import InvalidRequest
from gyropilot.problems.tabular import tables
from gyropilot.problems.tabular.columns import Column, Schema, read_schema

SCHEMA = Schema(
    features=(
        Column(name="", kind="numeric", is_ignored=True),
        Column(name="size", kind="numeric"),
        Column(name="weight", kind="numeric"),
        Column(name="is_new", kind="categorical"),
        Column(name="day", kind="datetime", day_first=True),
        Column(name="curve", kind="sequence"),
    ),
    target="price",
    weight="w",
    problem_type="Regression",
    labels=(),
)


def test_fields_of_text_become_values_of_their_kinds():
    frame = tables.from_text([["7", "", "2.5", "True", "1/2/2024", "1,2,3"], ["8", "", "1", None, "?", ""]], SCHEMA)
    assert list(frame.columns) == SCHEMA.names
    assert [str(one) for one in frame.dtypes] == ["float64"] * 3 + ["object", "datetime64[ns]", "object"]
    assert frame.iloc[0, 2:].tolist() == [2.5, "true", pd.Timestamp("2024-02-01"), "1,2,3"]
    assert frame[""].isna().all()
    assert frame["size"].isna().all()
    assert frame.iloc[1].isna().sum() == 5


def test_json_rows_are_read_as_text_rows_are():
    rows = [{"size": 1, "weight": 2.5, "is_new": True, "day": "1/2/2024", "curve": [1, 2.5], "price": 9, "w": 1}, {}]
    frame = tables.from_json(rows, SCHEMA)
    text = tables.from_text([["", "1", "2.5", "true", "1/2/2024", "1,2.5"], [None] * 6], SCHEMA)
    pd.testing.assert_frame_equal(frame, text)


def test_no_rows_are_an_empty_table():
    frame = tables.from_text([], SCHEMA)
    assert frame.shape == (0, 6)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (["1"] * 5, ["row 1", "6 columns", "'5 fields'", "'size', 'weight'"]),
        (["1"] * 7, ["'7 fields'", "leave out the target 'price'"]),
        (["1", "red", "blue", "1", "2", "3"], ["row 1, column 'size'", "is no number", "'red'"]),
    ],
)
def test_rows_of_another_form_are_refused_with_a_count(row, told):
    with pytest.raises(InvalidRequest) as caught:
        tables.from_text([row], SCHEMA)
    assert [part for part in told if part not in str(caught.value)] == [], str(caught.value)


def test_every_fault_of_json_rows_is_told_with_row_and_column():
    with pytest.raises(InvalidRequest) as caught:
        tables.from_json([{"size": [1]}, {"hight": 3}, {"is_new": {"a": 1}}], SCHEMA)
    message = str(caught.value)
    assert "row 1, column 'size'" in message
    assert "row 2: is no column of the model (found 'hight')" in message
    assert "row 3, column 'is_new'" in message


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("weight", "abc", "row 2, column 'weight': is no number (found 'abc')"),
        ("weight", True, "row 2, column 'weight': is no number (found 'true')"),
        ("weight", "1e999", "row 2, column 'weight': is no number (found '1e999')"),
        ("day", "soon", "row 2, column 'day': is no date or time (found 'soon')"),
    ],
)
def test_what_is_given_for_a_number_and_is_none_is_refused_by_its_column(name, given, told):
    with pytest.raises(InvalidRequest) as caught:
        tables.from_json([{}, {name: given}], SCHEMA)
    assert told in str(caught.value)
    assert "header" not in str(caught.value)
    text = ["true" if given is True else given if one == name else "" for one in SCHEMA.names]
    text = [one if name_ == name else "" for name_, one in zip(SCHEMA.names, text, strict=True)]
    with pytest.raises(InvalidRequest) as caught:
        tables.from_text([[""] * 6, text], SCHEMA)
    assert told in str(caught.value)


@pytest.mark.parametrize("word", ["NA", "-", " ", "unknown", "inf"])
def test_a_word_that_stands_for_nothing_is_a_missing_value(word):
    frame = tables.from_json([{"size": 1, "weight": word}], SCHEMA)
    assert math.isnan(frame["weight"][0])


def test_a_stray_word_is_a_missing_value_where_training_had_some():
    columns = tuple(replace(one, takes_strays=one.name == "size") for one in SCHEMA.features)
    schema = replace(SCHEMA, features=columns)
    frame = tables.from_json([{"size": "soon", "weight": 3}], schema)
    assert math.isnan(frame["size"][0])
    assert frame["weight"][0] == 3
    with pytest.raises(InvalidRequest, match="row 1, column 'weight': is no number"):
        tables.from_json([{"size": 3, "weight": "soon"}], schema)
    with pytest.raises(InvalidRequest, match="row 1, column 'size': is no number, as 1 more of this row's fields"):
        tables.from_json([{"size": "b", "weight": "c"}], schema)


def test_a_schema_survives_json_and_one_of_before_has_its_defaults():
    assert read_schema(SCHEMA.to_json()) == SCHEMA


def test_columns_typed_in_one_go_are_those_typed_one_by_one():
    odd = [
        "",
        None,
        "1",
        "$1,200",
        "1e999",
        "NaN",
        "12 %",
        "True",
        "2024-02-29",
        "29/2/2024",
        "3/4/2024",
        "x",
        "-",
        "é",
        "1,2,3",
    ]
    kinds_ = ("numeric", "categorical", "datetime", "text", "sequence", "numeric", "datetime", "numeric")
    columns = tuple(
        Column(name=f"c{number}", kind=kind, day_first=number == 6, is_ignored=number == 7)
        for number, kind in enumerate(kinds_)
    )
    schema = Schema(features=columns, target="y", weight=None, problem_type="Regression", labels=())
    rows = [[odd[(place + 4 * number) % len(odd)] for number in range(len(columns))] for place in range(len(odd))]
    fields = {one.name: pa.array([row[at] for row in rows], pa.string()) for at, one in enumerate(columns)}
    together = [one.to_pylist() for one in tables._typed_fields(rows, schema)]
    assert together == [one.to_pylist() for one in tables.typed_columns(fields, schema)]
