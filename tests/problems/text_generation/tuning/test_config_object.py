import json

import pytest

from gyropilot.errors import InvalidRequest
from gyropilot.problems.text_generation.tuning import config_object

URI = "s3://data/tuning.json"
TAGS = [{"Key": "team", "Value": "a"}, {"Key": config_object.TAG, "Value": URI}]


def read(data):
    return config_object.read(TAGS, lambda where, uri, most_bytes: data)


def fault_of(data):
    with pytest.raises(InvalidRequest) as caught:
        read(data)
    (fault,) = caught.value.faults
    return fault


def test_the_object_that_the_tag_names_is_read_within_its_bounds():
    asked = []
    read = config_object.read(TAGS, lambda *asking: asked.append(asking) or b'{"seed": 7}')
    assert read == {"seed": 7}
    assert asked == [("Tags[gyropilot:TuningConfig]", URI, 65_536)]


def test_without_a_tag_nothing_is_read():
    assert config_object.read([], None) == {}
    assert config_object.read(TAGS[:1], None) == {}


def test_a_tag_is_refused_where_there_are_no_buckets():
    with pytest.raises(InvalidRequest, match="cannot be read here"):
        config_object.read(TAGS, None)


def test_a_byte_order_mark_and_any_script_are_read():
    assert read('\ufeff{"verbalizer": "Größe {{input}} 東京"}'.encode()) == {"verbalizer": "Größe {{input}} 東京"}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is not JSON"),
        (b"seed: 7", "is not JSON"),
        (b'{"seed": 7', "is not JSON"),
        (b'{"lr": NaN}', "NaN is no number"),
        (b'{"lr": -Infinity}', "Infinity is no number"),
        (b"[" * 60_000, "is n"),
        (b'{"seed": ' + b"9" * 60_000 + b"}", "is not JSON"),
        (b"[]", "is not a JSON object"),
        (b"null", "is not a JSON object"),
        (b'{"verbalizer": "\xff"}', "is not UTF-8"),
        (json.dumps({"seed": 1}).encode("utf-16"), "is not UTF-8"),
    ],
)
def test_what_is_no_json_object_is_told(data, problem):
    fault = fault_of(data)
    assert (fault.where, fault.found) == ("Tags[gyropilot:TuningConfig]", URI)
    assert problem in fault.problem


def test_a_key_that_stands_twice_is_named():
    fault = fault_of(b'{"tuning_config": {"lora_rank": 4, "lora_rank": 8}}')
    assert fault.where == "Tags[gyropilot:TuningConfig].lora_rank"
    assert "more than once" in fault.problem
