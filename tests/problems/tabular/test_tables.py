from __future__ import annotations

import math

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
    frame = tables.from_text([["7", "1,5", "2.5", "True", "1/2/2024", "1,2,3"], ["8", "", "1", None, "?", ""]], SCHEMA)
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


def test_a_stray_word_among_numbers_is_a_missing_value():
    frame = tables.from_text([["1", "soon", "3", "x", "", ""]], SCHEMA)
    assert math.isnan(frame["size"][0])
    assert frame["weight"][0] == 3


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
