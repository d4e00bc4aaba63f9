import json

import pytest

from gyropilot.errors import InvalidData
from gyropilot.problems.tabular import feature_specification, request

URI = "s3://data/features.json"


@pytest.fixture
def read():
    def read(content, mode="ENSEMBLING"):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        columns, taken = ["age", "city", "day", "y", "w"], request.kinds_taken(mode)
        return feature_specification.read(data, URI, columns=columns, target="y", weight="w", taken=taken)

    return read


@pytest.mark.parametrize(
    ("content", "names", "kinds"),
    [
        ({}, None, {}),
        ({"FeatureAttributeNames": ["city", "age"]}, ("city", "age"), {}),
        ({"FeatureDataTypes": {"age": "text"}}, None, {"age": "text"}),
        (
            {"FeatureAttributeNames": ["age"], "FeatureDataTypes": {"age": "datetime"}},
            ("age",),
            {"age": "datetime"},
        ),
        ({"FeatureAttributeNames": [" age"], "FeatureDataTypes": {"age ": "text"}}, ("age",), {"age": "text"}),
        (b'\xef\xbb\xbf{"FeatureAttributeNames": null}', None, {}),
    ],
)
def test_either_key_may_stand_alone(read, content, names, kinds):
    said = read(content)
    assert (said.names, dict(said.kinds)) == (names, kinds)


def test_sequence_is_a_kind_of_tuning(read):
    content = {"FeatureDataTypes": {"age": "sequence"}}
    assert read(content, "HYPERPARAMETER_TUNING").kinds == {"age": "sequence"}
    with pytest.raises(InvalidData, match=r"FeatureDataTypes.age: is a kind of the mode HYPERPARAMETER_TUNING only"):
        read(content)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", ["is no JSON"]),
        (b"\xff\xfe", ["is no JSON"]),
        (b'{"FeatureDataTypes": {"age": "text", "age": "numeric"}}', ["a key stands twice"]),
        ([], ["is no JSON object"]),
        ({"Features": []}, ["is no key of a feature specification", "'Features'"]),
        ({"FeatureAttributeNames": "age"}, ["is no list of column names"]),
        ({"FeatureAttributeNames": []}, ["is no list of column names"]),
        ({"FeatureAttributeNames": ["age", "age"]}, ["is named twice", "'age'"]),
        ({"FeatureAttributeNames": ["y", "w"]}, ["is the target", "is the column of sample weights"]),
        ({"FeatureAttributeNames": ["Age"]}, ["is no column of the table", "did you mean 'age'?"]),
        ({"FeatureDataTypes": {"age": "number"}}, ["is no kind of column", "numeric, categorical, text, datetime"]),
        ({"FeatureDataTypes": {"age": ["text"]}}, ["is no kind of column"]),
        ({"FeatureDataTypes": ["age"]}, ["is no object of kinds"]),
        (
            {"FeatureAttributeNames": ["age"], "FeatureDataTypes": {"city": "text"}},
            ["is not among FeatureAttributeNames", "'city'"],
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_every_fault(read, content, told):
    with pytest.raises(InvalidData) as caught:
        read(content)
    message = str(caught.value)
    assert message.startswith(URI)
    assert [part for part in told if part not in message] == [], message
