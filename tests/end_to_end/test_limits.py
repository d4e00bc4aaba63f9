"""A job that needs more memory than it is granted fails and says so; the service and the next job do not notice."""

import psutil
import pytest

import services


@pytest.mark.slow
def test_a_job_without_memory_enough_fails_for_that_reason_alone(tmp_path, tiny_model_folder):
    with services.running(tmp_path / "home", memory_gib=0.06) as service:
        assert service.gyropilot("models", "add", services.TINY, tiny_model_folder).returncode == 0
        services.put_rows(service, services.rows(40))
        service.sdk().create_job(services.request(service, "greedy"))
        job = service.sdk().wait("greedy", timeout_seconds=120, poll_seconds=0.2)
        assert job["AutoMLJobStatus"] == "Failed"
        assert "memory" in job["FailureReason"]
        assert "61 MiB" in job["FailureReason"]
        kinds = [one.kind for one in service.sdk().events("greedy")]
        assert kinds.count("died") == 1, "it is not tried again"
        assert "bounds" in kinds
        assert psutil.Process(service.process.pid).children() == []
        log = service.sdk().log("greedy").text
        assert "gyropilot: died: greedy-candidate-1: out of memory" in log
        assert "gyropilot: status Failed" in log
