"""The paths of InputFilter and OutputFilter; the first of each table are the service's own examples."""

import pytest

from gyropilot.data import json_paths
from gyropilot.data.json_paths import NothingThere
from gyropilot.errors import InvalidRequest

RECORD = {"id": 7, "features": [1.5, 2, None], "SageMakerOutput": {"prediction": 3, "score": 0.5}, "a-b": {"c": "d"}}
ROW = ["i", "a", "b", "c", "d", "e", "p"]


@pytest.mark.parametrize(
    ("path", "picked"),
    [
        ("$", RECORD),
        ("$.features", [1.5, 2, None]),
        ("$['id','SageMakerOutput']", {"id": 7, "SageMakerOutput": {"prediction": 3, "score": 0.5}}),
        ("$.SageMakerOutput['score','prediction']", {"score": 0.5, "prediction": 3}),
        ("$.SageMakerOutput.['score','prediction']", {"score": 0.5, "prediction": 3}),
        ("$.SageMakerOutput.prediction", 3),
        ("$['SageMakerOutput']['score']", 0.5),
        ('$["a-b"].c', "d"),
        ("$.a-b.c", "d"),
        ("$.features[0]", 1.5),
        ("$.features[-1]", None),
        ("$.features[1:]", [2, None]),
        ("$.features[ 2 , 0 ]", [None, 1.5]),
        ("$.SageMakerOutput.*", [3, 0.5]),
        ("$.features[*]", [1.5, 2, None]),
    ],
)
def test_a_path_picks_its_part_of_a_record(path, picked):
    assert json_paths.read("OutputFilter", path).pick(RECORD) == picked


def test_what_follows_on_all_is_picked_out_of_each():
    rows = {"rows": [{"x": [1, 2]}, {"x": [3, 4]}]}
    assert json_paths.read("f", "$.rows[*].x[1]").pick(rows) == [2, 4]
    assert json_paths.read("f", "$.rows[0,1].x").pick(rows) == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("path", "columns"),
    [
        ("$", "iabcdep"),
        ("$[1:]", "abcdep"),
        ("$[0,-1]", "ip"),
        ("$[0,5:]", "iep"),
        ("$[0]", "i"),
        ("$[:-1]", "iabcde"),
        ("$[-1,0]", "pi"),
        ("$[2:99]", "bcdep"),
        ("$[*]", "iabcdep"),
    ],
)
def test_a_path_picks_columns_in_its_order(path, columns):
    read = json_paths.read("OutputFilter", path)
    assert read.is_of_columns
    assert read.pick_columns(ROW) == list(columns)


@pytest.mark.parametrize("path", ["$.id", "$['id','x']", "$[0][1]", "$[*].x"])
def test_names_and_depth_are_no_columns(path):
    assert not json_paths.read("InputFilter", path).is_of_columns


@pytest.mark.parametrize(
    ("path", "record", "said"),
    [
        ("$.b", {"a": 1}, r"\$ has no member 'b', only 'a'"),
        ("$.a.b", {"a": 1}, r"\$\.a is a number, which has no member 'b'"),
        ("$['a','b']", {"a": 1}, "has no member 'b'"),
        ("$[7]", ROW, "has 7 elements, none at 7"),
        ("$[-8]", ROW, "none at -8"),
        ("$[7:]", ROW, "none in 7:"),
        ("$[0]", {"a": 1}, "is an object, which has no elements"),
        ("$.*", "text", "is a text, which has no parts"),
    ],
)
def test_what_is_not_there_is_told(path, record, said):
    with pytest.raises(NothingThere, match=said):
        json_paths.read("f", path).pick(record)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("", 1),
        ("features", 1),
        ("$..a", 2),
        ("$.", 2),
        ("$[", 2),
        ("$[1:2:3]", 2),
        ("$[?(@.a>1)]", 2),
        ("$['a','b'].c", 11),
        ("$['a','a']", 2),
        ("$.a b", 4),
        ("$[1.5]", 2),
        ("$['a', 1]", 2),
    ],
)
def test_what_is_no_path_is_refused_with_its_place(path, place):
    with pytest.raises(InvalidRequest, match=rf"^InputFilter: cannot be read at character {place}:"):
        json_paths.read("InputFilter", path)
