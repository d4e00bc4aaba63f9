"""Kills of a service and of its training children at random moments, while a client goes on creating jobs."""

from __future__ import annotations

import hashlib
import json
import os
import random
import socket
import threading
import time

import psutil
from botocore.exceptions import BotoCoreError, ClientError

import services
from gyropilot.engine import cgroups

HYPERPARAMETERS = {"epochCount": "5", "batchSize": "1", "learningRate": "0.001"}
LONGEST_CALM_SECONDS = 5.0
"""About as long as a job takes, so that every part of it is hit."""


class Storm:
    """A service that is killed and started again, and what it was asked to do meanwhile."""

    def __init__(self, home, model_folder, *, seed, **settings):
        self.random = random.Random(seed)
        self.service = services.Process(
            home, checkpoint_seconds=0.5, lease_seconds=2, cores=1, job_attempts=1000, **settings
        )
        self.port = _free_port()
        self.killed_services, self.killed_children = 0, 0
        self.trained, self.parked = [], []
        """Names of the jobs whose creation was acknowledged: those to be trained, and those stopped while they wait."""
        self._service_ids = []
        self._is_over = threading.Event()
        self._faults = []
        self.start()
        assert self.service.gyropilot("models", "add", services.TINY, model_folder).returncode == 0
        services.put_rows(self.service, services.rows(40))

    def start(self):
        self.service.start("--port", str(self.port))
        self._service_ids.append(self.service.process.pid)

    def rage(self, *, kills):
        """Kill the service and a child `kills` times each, in random order, at random moments; jobs keep coming."""
        blows = [self.kill_service, self.kill_child] * kills
        self.random.shuffle(blows)
        creator = threading.Thread(target=self._create_until_over)
        creator.start()
        try:
            for blow in blows:
                time.sleep(self.random.uniform(0.1, LONGEST_CALM_SECONDS))
                blow()
        finally:
            self._is_over.set()
            creator.join()
        assert self._faults == []

    def kill_service(self):
        children = self.children()
        self.service.kill()
        _, alive = psutil.wait_procs(children, timeout=10)
        assert alive == [], "a child outlived its service"
        self.start()
        self.killed_services += 1

    def kill_child(self):
        """Kill one, not always when it has just begun."""
        services.wait_until(self.children, seconds=120, what="a child")
        time.sleep(self.random.uniform(0.0, LONGEST_CALM_SECONDS))
        child = services.wait_until(self.children, seconds=120, what="a child")[0]
        child.kill()
        self.killed_children += 1

    def children(self):
        return children_of(self.service)

    def create(self, name):
        """Create a job, trying again until it is acknowledged; a name that is taken was stored by a try before."""
        request = services.request(self.service, name, TextGenerationHyperParameters=HYPERPARAMETERS)
        self.insist(lambda client: client.create_auto_ml_job_v2(**request), but="ResourceInUse")

    def insist(self, call, *, but=""):
        client = self.service.boto3("sagemaker")
        until = time.monotonic() + 120
        while True:
            try:
                return call(client)
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code == but:
                    return None
                if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500 or time.monotonic() > until:
                    raise
            except BotoCoreError:
                assert time.monotonic() < until, "the service did not come back"
            threading.Event().wait(0.1)

    def result_of(self, name):
        """Wait until a job has completed, once; give its losses, and check what it left."""
        job = services.wait_until(lambda: self._ended(name), seconds=300, what=f"{name} to end")
        assert job["AutoMLJobStatus"] == "Completed", job.get("FailureReason")
        events = self.events(name)
        assert [one.sequence for one in events] == list(range(1, len(events) + 1)), "no event is missing"
        ends = [one for one in events if one.kind == "status" and one.message in {"Completed", "Failed", "Stopped"}]
        assert [one.message for one in ends] == ["Completed"]
        self._check_artifacts(name)
        steps = [json.loads(line) for line in self._object(f"out/{name}/training.jsonl").splitlines()]
        assert [one["step"] for one in steps] == list(range(1, len(steps) + 1)), "each step once"
        metrics = job["BestCandidate"]["CandidateProperties"]["CandidateMetrics"]
        losses = {one["StandardMetricName"]: one["Value"] for one in metrics if "Loss" in one["StandardMetricName"]}
        assert losses
        return losses, [one["loss"] for one in steps]

    def events(self, name):
        return list(self.service.sdk().events(name))

    def check_nothing_is_left(self):
        """Neither scratch nor a process nor a control group; asked of a service that has no job."""
        services.wait_until(
            lambda: not list((self.service.home / "scratch").iterdir()), seconds=20, what="an empty scratch folder"
        )
        assert self.children() == []
        orphans = [one.pid for one in psutil.process_iter() if _is_child(one) and str(self.service.home) in _told(one)]
        assert orphans == []
        places = cgroups.find()
        parents = {one for one in (places.memory, places.processes) if one is not None}
        groups = [one for parent in parents for pid in self._service_ids for one in parent.glob(f"gyropilot-{pid}-*")]
        assert groups == []

    def _create_until_over(self):
        """Keep two jobs in training or before it; now and then one that is stopped while it waits."""
        try:
            while not self._is_over.wait(0.3):
                if sum(self._ended(name) is None for name in self.trained[-4:]) < 2:
                    name = f"trained-{len(self.trained)}"
                    self.create(name)
                    self.trained.append(name)
                name = f"parked-{len(self.parked)}"
                self.create(name)
                self.parked.append(name)
                self.insist(lambda client, name=name: client.stop_auto_ml_job(AutoMLJobName=name))
        except Exception as error:
            self._faults.append(error)
            raise

    def _ended(self, name):
        job = self.insist(lambda client: client.describe_auto_ml_job_v2(AutoMLJobName=name))
        return job if job["AutoMLJobStatus"] in {"Completed", "Failed", "Stopped"} else None

    def _check_artifacts(self, name):
        manifest = json.loads(self._object(f"out/{name}/manifest.json"))
        for file, noted in manifest["files"].items():
            assert hashlib.sha256(self._object(f"out/{name}/{file}")).hexdigest() == noted["sha256"], file

    def _object(self, key):
        return self.service.boto3("s3").get_object(Bucket="data", Key=key)["Body"].read()


def children_of(service):
    try:
        found = psutil.Process(service.process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [one for one in found if _is_child(one)]


def seed():
    """A seed from the environment, or a fresh one; printed, so that a run can be had again."""
    chosen = int(os.environ.get("GYROPILOT_SEED") or random.SystemRandom().randrange(10**6))
    print(f"seed {chosen}")
    return chosen


def _is_child(process):
    return "gyropilot.engine.child" in _told(process)


def _told(process):
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]
