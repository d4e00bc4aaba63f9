"""PostgreSQL is killed and comes back while calls are made and jobs run: nothing is lost, nothing doubled."""

from __future__ import annotations

import threading
import time

import botocore.exceptions
import pytest

import mean_gyropilot
import services
from gyropilot.store import events
from gyropilot.store import jobs as jobs_room
from gyropilot.store.database import Database
from mean_gyropilot import PROGRAM, mean_request
from new_jobs import ACCOUNT, REGION

pytestmark = pytest.mark.slow
RESTARTS = 3
LENGTHS = {"steps": 300, "step_seconds": 0.05}


class Load:
    """A client that creates jobs and describes one, without end; it tries a create again as SDKs do, by the same id."""

    def __init__(self, api, number):
        self.created, self.faults, self.answered_at = [], [], []
        self._api, self._number = api, number
        self._over = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._create, self._describe)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _create(self):
        client = self._api.boto3("sagemaker", retries={"total_max_attempts": 12, "mode": "standard"})
        while not self._over.wait(0.02):
            name = f"load-{self._number}-{len(self.created)}"
            client.create_auto_ml_job_v2(**mean_request(self._api, name, steps=1))
            self.created.append(name)
            client.stop_auto_ml_job(AutoMLJobName=name)

    def _describe(self):
        client = self._api.boto3("sagemaker", retries={"total_max_attempts": 1})
        while not self._over.wait(0.02):
            began = time.monotonic()
            try:
                client.describe_auto_ml_job_v2(AutoMLJobName="long")
                self.answered_at.append(time.monotonic())
            except botocore.exceptions.ClientError as error:
                status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                self.faults.append((status, error.response["Error"]["Code"], time.monotonic() - began))


@pytest.mark.parametrize("form", ["up", "apart"])
def test_a_restart_of_the_server_loses_and_doubles_nothing(tmp_path, own_postgresql, form):
    url = own_postgresql.create_migrated_database()
    chosen = {"database_url": url, "program": PROGRAM, "lease_seconds": 10, "cores": 1, "memory_gib": 1}
    start = services.running if form == "up" else services.running_apart
    with start(tmp_path / "home", **chosen) as service:
        api = service if form == "up" else service.first
        mean_gyropilot.put_numbers(api)
        api.sdk().create_job(mean_request(api, "long", **LENGTHS))
        progress = api.sdk().progress
        services.wait_until(lambda: progress("long").phase == "training", seconds=60, what="training")
        acknowledged = []
        for number in range(RESTARTS):
            with Load(api, number) as load:
                services.wait_until(lambda load=load: len(load.created) >= 3, seconds=30, what="some creates")
                own_postgresql.stop("immediate")
                services.wait_until(lambda load=load: load.faults, seconds=20, what="a call to fail")
                own_postgresql.start()
                back_at = time.monotonic()
                before = len(load.created)
                healthy = services.wait_until(
                    lambda load=load, at=back_at: next((one for one in load.answered_at if one > at), None),
                    seconds=20,
                    what="an answer",
                )
                services.wait_until(lambda n=before, load=load: len(load.created) > n, seconds=30, what="a create")
            assert healthy - back_at <= 5
            assert {fault[:2] for fault in load.faults} == {(503, "ServiceUnavailable")}
            assert max(fault[2] for fault in load.faults) <= 6
            acknowledged += load.created
        job = api.sdk().wait("long", timeout_seconds=120, poll_seconds=0.2)
        assert job["AutoMLJobStatus"] == "Completed", job.get("FailureReason")
    database = Database.open(url)
    for name in ["long", *acknowledged]:
        record = jobs_room.find(database, ACCOUNT, REGION, name)
        told = events.after(database, record.id, 0, 1000)
        assert [one.sequence for one in told] == list(range(1, len(told) + 1))
        assert [one.kind for one in told].count("created") == 1
        if name == "long":
            assert [one.message for one in told].count("Completed") == 1
            assert record.attempts == 1, "the job was taken away from a worker that lived"
    database.close()
