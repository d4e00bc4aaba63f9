"""The disk of the database fills up under a service: calls say so, may be tried again, and nothing needs a restart."""

import contextlib
import sqlite3

import pytest
from botocore.exceptions import ClientError

import services
import small_disks

HYPERPARAMETERS = {"epochCount": "3", "batchSize": "1"}


@pytest.mark.slow
def test_a_full_database_disk_loses_nothing_and_is_left_behind_without_a_restart(tmp_path, tiny_model_folder):
    home = tmp_path / "home"
    with contextlib.ExitStack() as mounts:
        disk = mounts.enter_context(small_disks.mounted(home, mib=32))
        for place in ("scratch", "base_models"):
            mounts.enter_context(small_disks.mounted(home / place, mib=2048))
        with services.running(home, lease_seconds=5, checkpoint_seconds=1) as service:
            assert service.gyropilot("models", "add", services.TINY, tiny_model_folder).returncode == 0
            services.put_rows(service, services.rows(40))
            service.sdk().create_job(_request(service, "before"))
            services.wait_until(lambda: service.sdk().progress("before").phase, seconds=120, what="a phase")
            disk.fill()
            refused = _refusals(service)
            assert refused, "a create was acknowledged on a full disk"
            assert all(status >= 500 for status in refused), refused
            process = service.process.pid
            disk.free()
            services.wait_until(lambda: _is_created(service, "after"), seconds=30, what="a create to be taken")
            for name in ("before", "after"):
                job = service.sdk().wait(name, timeout_seconds=240, poll_seconds=0.1)
                assert job["AutoMLJobStatus"] == "Completed", job.get("FailureReason")
                numbers = [one.sequence for one in service.sdk().events(name)]
                assert numbers == list(range(1, len(numbers) + 1))
            assert service.process.pid == process
        with sqlite3.connect(home / "gyropilot.db") as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _refusals(service):
    """The statuses of creates until three in a row were refused; those that were still taken are jobs too."""
    statuses, number = [], 0
    while len(statuses) < 3 and number < 2000:
        try:
            service.boto3("sagemaker").create_auto_ml_job_v2(**_request(service, f"late-{number}"))
            service.boto3("sagemaker").stop_auto_ml_job(AutoMLJobName=f"late-{number}")
            number, statuses = number + 1, []
        except ClientError as error:
            statuses.append(error.response["ResponseMetadata"]["HTTPStatusCode"])
    return statuses


def _is_created(service, name):
    try:
        return service.boto3("sagemaker").create_auto_ml_job_v2(**_request(service, name))
    except ClientError as error:
        return error.response["Error"]["Code"] == "ResourceInUse"


def _request(service, name):
    return services.request(service, name, TextGenerationHyperParameters=HYPERPARAMETERS)
