"""Many candidates side by side over kills of the service and of children: each is trained to its end once.

GYROPILOT_CANDIDATES says how many, GYROPILOT_KILLS how often the service and a child are killed, each.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random

import psutil
import pytest

import mean_gyropilot
import services
import storms
from mean_gyropilot import PROGRAM, mean_request

pytestmark = pytest.mark.slow
CANDIDATES = int(os.environ.get("GYROPILOT_CANDIDATES", "24"))
KILLS = int(os.environ.get("GYROPILOT_KILLS", "4"))
KEPT = ("CandidateStatus", "EndTime", "FinalAutoMLJobObjectiveMetric", "CandidateSteps", "FailureReason")


def candidates_of(service):
    return {one["CandidateName"]: one for one in service.sdk().candidates("job")}


def ended_of(service):
    return {
        name: {key: one.get(key) for key in KEPT} for name, one in candidates_of(service).items() if "EndTime" in one
    }


def has_ended(service):
    return "EndTime" in service.sdk().describe("job")


def kill_a_child(service, draw):
    children = storms.children_of(service)
    if children:
        with contextlib.suppress(psutil.NoSuchProcess):
            draw.choice(children).kill()


def test_kills_of_the_service_and_of_children_cost_only_what_was_in_training(tmp_path):
    draw = random.Random(storms.seed())
    with services.running(tmp_path / "home", program=PROGRAM, cores=3, memory_gib=1, lease_seconds=2) as service:
        mean_gyropilot.put_numbers(service)
        request = mean_request(service, "job", steps=10, step_seconds=0.02, candidates=CANDIDATES, at_once=3)
        tabular = {"TargetAttributeName": "y", "CompletionCriteria": {"MaxCandidates": CANDIDATES}}
        service.sdk().create_job(request | {"AutoMLProblemTypeConfig": {"TabularJobConfig": tabular}})
        told = {}
        for number in range(KILLS):
            least = (number + 1) * CANDIDATES // (KILLS + 2)
            services.wait_until(
                lambda least=least: len(ended_of(service)) >= least, seconds=120, what="more candidates"
            )
            kill_a_child(service, draw)
            before = ended_of(service)
            assert told.items() <= before.items(), "what had ended stayed as it was"
            told = before
            service.kill()
            service.start()
        job = service.sdk().wait("job", timeout_seconds=180, poll_seconds=0.2)
        assert (job["AutoMLJobStatus"], job["AutoMLJobSecondaryStatus"]) == ("Completed", "MaxCandidatesReached"), job
        assert job["BestCandidate"]["CandidateName"] == "mean-0"
        after = ended_of(service)
        assert told.items() <= after.items()
        assert after.keys() == {f"mean-{number}" for number in range(CANDIDATES)}
        assert {one["FailureReason"] for one in after.values() if one["CandidateStatus"] != "Completed"} == set()
        check_bucket(service)
        assert not list((tmp_path / "home" / "scratch").iterdir())


def check_bucket(service):
    """Every model that a candidate names is there, as the manifest has it."""
    s3 = service.boto3("s3")

    def read(name):
        return s3.get_object(Bucket=mean_gyropilot.BUCKET, Key=f"out/job/{name}")["Body"].read()

    files = json.loads(read("manifest.json"))["files"]
    assert files.keys() == {f"mean-{number}/model.json" for number in range(CANDIDATES)}
    for name, noted in files.items():
        assert hashlib.sha256(read(name)).hexdigest() == noted["sha256"]
