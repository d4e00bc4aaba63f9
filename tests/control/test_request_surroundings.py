import pytest

from gyropilot.control import request_surroundings
from gyropilot.problems.text_generation.problem import TEXT_GENERATION
from gyropilot.settings import Settings


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ((), 0),
        (("null", "nvidiactl", "nvidia-uvm"), 0),
        (("nvidiactl", "nvidia0", "nvidia1", "nvidia-caps"), 2),
        (("kfd",), None),
        (("dxg",), None),
    ],
)
def test_gpus_are_counted_by_their_device_files(tmp_path, files, count):
    for name in files:
        (tmp_path / name).touch()
    assert request_surroundings.cuda_devices(Settings(), tmp_path) == count


def test_gpus_are_not_counted_where_jobs_may_run_on_another_machine(tmp_path):
    apart = Settings(database_url="postgresql://localhost/gyropilot")
    assert request_surroundings.cuda_devices(apart, tmp_path) is None


@pytest.mark.parametrize("key", ["gyropilot:made-for", "gyropilot:owner", "gyropilot:train", "team", "TuningConfig"])
def test_other_tags_are_left_alone(key):
    given = [{"Key": key, "Value": "x"}]
    assert list(request_surroundings.tag_faults(TEXT_GENERATION, given, (TEXT_GENERATION,))) == []


@pytest.mark.parametrize("key", ["gyropilot:tuningconfig", "gyropilot:TuningConf", "gyropilot:tuning-config"])
def test_a_tag_that_is_nearly_ours_is_refused_with_the_one_meant(key):
    (fault,) = request_surroundings.tag_faults(TEXT_GENERATION, [{"Key": key, "Value": "x"}], (TEXT_GENERATION,))
    assert (fault.where, fault.fix) == (f"Tags[{key}]", "did you mean gyropilot:TuningConfig?")
