import pytest

from gyropilot.control import request_surroundings
from gyropilot.problems.text_generation.problem import TEXT_GENERATION


@pytest.mark.parametrize("key", ["gyropilot:made-for", "gyropilot:owner", "gyropilot:train", "team", "TuningConfig"])
def test_other_tags_are_left_alone(key):
    given = [{"Key": key, "Value": "x"}]
    assert list(request_surroundings.tag_faults(TEXT_GENERATION, given, (TEXT_GENERATION,))) == []


@pytest.mark.parametrize("key", ["gyropilot:tuningconfig", "gyropilot:TuningConf", "gyropilot:tuning-config"])
def test_a_tag_that_is_nearly_ours_is_refused_with_the_one_meant(key):
    (fault,) = request_surroundings.tag_faults(TEXT_GENERATION, [{"Key": key, "Value": "x"}], (TEXT_GENERATION,))
    assert (fault.where, fault.fix) == (f"Tags[{key}]", "did you mean gyropilot:TuningConfig?")
