import pytest

from gyropilot.engine.gpus import cuda_devices
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
    assert cuda_devices(Settings(), tmp_path) == count


def test_gpus_are_not_counted_where_jobs_may_run_on_another_machine(tmp_path):
    apart = Settings(database_url="postgresql://localhost/gyropilot")
    assert cuda_devices(apart, tmp_path) is None
