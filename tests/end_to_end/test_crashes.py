"""Nothing acknowledged is lost: kills at any moment end in the job that an undisturbed run gives.

GYROPILOT_KILLS says how often the service and a training child are killed, each, over both databases together.
"""

import os
import time

import pytest

import services
import storms

KILLS = int(os.environ.get("GYROPILOT_KILLS", "4"))


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_kills_at_random_moments_lose_no_job_and_change_no_result(request, tmp_path, tiny_model_folder, database):
    settings = {"database_url": request.getfixturevalue("postgresql_url")} if database == "postgresql" else {}
    began = time.monotonic()
    # One core: the number of threads decides the last bits, and each job chooses it by what the machine does just then.
    storm = storms.Storm(tmp_path / "home", tiny_model_folder, seed=storms.seed(), **settings)
    try:
        storm.create("undisturbed")
        undisturbed = storm.result_of("undisturbed")
        storm.rage(kills=max(1, KILLS // 2))
        for name in storm.trained:
            assert storm.result_of(name) == undisturbed, name
        listed = {one["AutoMLJobName"] for one in storm.service.sdk().jobs()}
        assert {"undisturbed", *storm.trained, *storm.parked} <= listed, "an acknowledged job is gone"
        storm.check_nothing_is_left()
        assert storm.service.stop() == 0
    finally:
        if storm.service.process.poll() is None:
            storm.service.stop()
    deaths = f"{storm.killed_services} kills of the service, {storm.killed_children} of a child"
    jobs = f"{len(storm.trained)} jobs trained to bit-equal losses, {len(storm.parked)} created and stopped beside them"
    print(f"{database}: {deaths}; {jobs}; {time.monotonic() - began:.0f} s")


@pytest.mark.slow
def test_a_job_that_kills_its_service_each_time_fails_with_where_it_was(tmp_path, tiny_model_folder):
    with services.running(tmp_path / "home", lease_seconds=2) as service:
        assert service.gyropilot("models", "add", services.TINY, tiny_model_folder).returncode == 0
        services.put_rows(service, services.rows(400))
        hyperparameters = {"epochCount": "10", "batchSize": "1"}
        service.sdk().create_job(services.request(service, TextGenerationHyperParameters=hyperparameters))
        services.wait_until(lambda: _phase(service) == "training", seconds=120, what="the job to be in training")
        for _ in range(3):
            services.wait_until(lambda: storms.children_of(service), seconds=120, what="a child")
            service.kill()
            service.start()
        job = service.sdk().wait("job", timeout_seconds=60, poll_seconds=0.2)
        assert job["AutoMLJobStatus"] == "Failed"
        assert "died 3 times in a row" in job["FailureReason"]
        assert "last in phase" in job["FailureReason"]
        assert [one.kind for one in service.sdk().events("job")].count("lost") == 3
        listed = service.boto3("s3").list_objects_v2(Bucket="data", Prefix="out/")
        assert listed["KeyCount"] == 0


def _phase(service):
    return service.sdk().progress("job").phase
