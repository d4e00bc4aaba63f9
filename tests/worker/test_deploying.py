"""The DeployingModel phase, by a real worker and real replicas: a fault costs the job its endpoint, not its model."""

from __future__ import annotations

import pytest

import houses
import mean_endpoints
import mean_jobs
from gyropilot.control import endpoint_configs, endpoints, models, tags
from gyropilot.errors import NotFound
from gyropilot.store import endpoints as stored
from gyropilot.store import leases
from gyropilot.store.named_rows import NewRow
from gyropilot.worker import deploying, time_used
from mean_problem import MEAN

AUTOMATIC = {"AutoGenerateEndpointName": True}
NAMED = {"EndpointName": "mine"}
CONTENT = b"1\n"


@pytest.fixture
def serve(house):
    with mean_endpoints.supervised(house):
        yield


@pytest.fixture
def later_worker(house):
    """A worker that the test starts."""
    worker = mean_jobs.new_worker(house)
    yield worker
    worker.stop()


def endpoint_named(house, name="mine"):
    return stored.find(house.db, house.settings.account_id, houses.REGION, name)


def in_phase(house):
    return mean_jobs.described(house)["AutoMLJobSecondaryStatus"] == "DeployingModel"


def names_left(house):
    """The names of every model, configuration and endpoint."""
    admin = houses.admin(house)
    listed = (
        (models.list_models, "Models", "ModelName"),
        (endpoint_configs.list_configs, "EndpointConfigs", "EndpointConfigName"),
        (endpoints.list_endpoints, "Endpoints", "EndpointName"),
    )
    return [one[name] for call, kind, name in listed for one in call(house, admin, houses.REGION, {})[kind]]


def test_the_best_candidate_answers_at_the_end_of_the_job(house, worker, serve):
    mean_jobs.create(house, tags={"team": "blue"}, ModelDeployConfig=NAMED)
    job = mean_jobs.ended(house)
    assert (job["AutoMLJobStatus"], job["AutoMLJobSecondaryStatus"]) == ("Completed", "Completed")
    assert job["ModelDeployResult"] == {"EndpointName": "mine"}
    assert "PartialFailureReasons" not in job
    assert mean_jobs.progress_of(house).get("phase") != "uploading"  # that was over when the deployment began
    statuses = [one["Message"] for one in mean_jobs.events_of(house) if one["Kind"] == "status"]
    assert statuses[-2:] == ["InProgress: DeployingModel", "Completed"]
    endpoint = endpoint_named(house)
    assert (endpoint.status, endpoint.principal) == ("InService", houses.admin(house).access_key_id)
    (replica,) = mean_endpoints.ready(house, endpoint.id)
    assert mean_endpoints.answer_of(replica, CONTENT).body == b"2.0\n"
    model = models.describe(house, houses.admin(house), houses.REGION, job["BestCandidate"]["CandidateName"])
    assert model["PrimaryContainer"] == job["BestCandidate"]["InferenceContainers"][0]
    assert model["ExecutionRoleArn"] == houses.ROLE
    (variant,) = endpoint.wanted["variants"]
    assert (variant["startup_seconds"], variant["instances"]) == (3600, 1)
    for arn in (model["ModelArn"], endpoint.arn):
        asked = {"ResourceArn": arn}
        told = tags.list_tags(house, houses.admin(house), houses.REGION, asked)
        assert {"Key": "team", "Value": "blue"} in told["Tags"]


def test_names_are_invented_where_none_is_given_and_where_the_models_is_taken(house, worker, serve):
    for name in ("one", "two"):  # of both the candidate is called mean-0
        mean_jobs.create(house, name=name, ModelDeployConfig=AUTOMATIC)
    jobs = [mean_jobs.ended(house, name) for name in ("one", "two")]
    chosen = [job["ModelDeployResult"]["EndpointName"] for job in jobs]
    assert [name.rpartition("-")[0] for name in chosen] == ["one", "two"]
    of_models = [endpoint_named(house, name).wanted["variants"][0]["model"]["name"] for name in chosen]
    assert "mean-0" in of_models
    assert len(set(of_models)) == 2


def test_an_endpoint_that_cannot_be_started_leaves_the_job_completed_with_the_reason(house, worker, serve):
    mean_jobs.create(house, tags={"fault": "not servable"}, ModelDeployConfig=NAMED)
    job = mean_jobs.ended(house)
    assert (job["AutoMLJobStatus"], job["AutoMLJobSecondaryStatus"]) == ("Completed", "ModelDeploymentError")
    assert job["ModelDeployResult"] == {}
    (partial,) = job["PartialFailureReasons"]
    assert partial["PartialFailureMessage"].startswith("The model was not deployed: The endpoint mine could not be")
    assert "the folder is not whole" in partial["PartialFailureMessage"]
    assert endpoint_named(house).status == "Failed"
    assert "deployment_failed" in mean_jobs.kinds_of(house)
    assert job["BestCandidate"]["CandidateStatus"] == "Completed"


def test_a_name_that_was_taken_meanwhile_fails_the_deployment_alone(house, later_worker):
    mean_jobs.create(house, ModelDeployConfig=NAMED)
    row = NewRow(account_id=house.settings.account_id, region=houses.REGION, name="MINE", arn="arn:aws:sagemaker:x")
    theirs = stored.create(house.db, row, principal="GYRO", wanted={"config_name": "c", "variants": []}, tags={})
    later_worker.start()
    job = mean_jobs.ended(house)
    assert job["AutoMLJobSecondaryStatus"] == "ModelDeploymentError"
    assert "already existing endpoint" in job["PartialFailureReasons"][0]["PartialFailureMessage"]
    assert stored.get(house.db, theirs.id).status == "Creating"


def test_without_a_process_that_serves_the_job_says_so_and_ends(house, worker, monkeypatch):
    monkeypatch.setattr(deploying, "UNSERVED_TOLD_SECONDS", 0.1)
    monkeypatch.setattr(deploying, "UNSERVED_SECONDS", 1.0)
    mean_jobs.create(house, ModelDeployConfig=NAMED)
    job = mean_jobs.ended(house)
    assert job["AutoMLJobSecondaryStatus"] == "ModelDeploymentError"
    (partial,) = job["PartialFailureReasons"]
    assert "no process serves endpoints: run `gyropilot up`" in partial["PartialFailureMessage"]
    (told,) = [one["Message"] for one in mean_jobs.events_of(house) if one["Kind"] == "unserved"]
    assert told.startswith("The endpoint mine waits: no process serves endpoints")
    assert endpoint_named(house).status == "Deleting"
    assert names_left(house) == ["mine"]


@pytest.mark.slow
def test_how_long_training_took_is_no_time_that_nobody_served(house, worker, serve, monkeypatch):
    monkeypatch.setattr(deploying, "UNSERVED_TOLD_SECONDS", 3.0)
    monkeypatch.setattr(deploying, "UNSERVED_SECONDS", 3.0)
    mean_jobs.create(house, tags={"steps": "400", "step_seconds": "0.01"}, ModelDeployConfig=NAMED)
    assert mean_jobs.ended(house)["ModelDeployResult"] == {"EndpointName": "mine"}
    assert "unserved" not in mean_jobs.kinds_of(house)


def test_stop_while_it_is_deployed_removes_what_was_made_and_keeps_the_model(house, worker):
    mean_jobs.create(house, ModelDeployConfig=NAMED)  # nobody serves, so it would wait
    mean_jobs.wait_until(lambda: endpoint_named(house), "the endpoint")
    assert in_phase(house)
    mean_jobs.stop(house)
    job = mean_jobs.ended(house)
    assert (job["AutoMLJobStatus"], job["BestCandidate"]["CandidateName"]) == ("Stopped", "mean-0")
    assert "ModelDeployResult" not in job
    assert endpoint_named(house).status == "Deleting"
    for find in (models.find, endpoint_configs.find):
        with pytest.raises(NotFound):
            find(house, house.settings.account_id, houses.REGION, "mine" if find is endpoint_configs.find else "mean-0")


def test_a_stopped_job_is_not_deployed(house, worker):
    mean_jobs.create(house, tags={"steps": "10000", "step_seconds": "0.01"}, ModelDeployConfig=NAMED)
    mean_jobs.wait_until(lambda: mean_jobs.training_begun(house), "training")
    mean_jobs.stop(house)
    job = mean_jobs.ended(house)
    assert (job["AutoMLJobStatus"], names_left(house)) == ("Stopped", [])


def test_the_jobs_time_limit_ends_the_deployment(house, worker, monkeypatch):
    mean_jobs.create(house, criteria={"MaxAutoMLJobRuntimeInSeconds": 3600}, ModelDeployConfig=NAMED)
    mean_jobs.wait_until(lambda: endpoint_named(house), "the endpoint")
    monkeypatch.setattr(time_used.TimeUsed, "seconds", lambda used, what: 3600.0)
    job = mean_jobs.ended(house)
    told = (job["AutoMLJobStatus"], job["AutoMLJobSecondaryStatus"])
    assert told == ("Completed", "MaxAutoMLJobRuntimeReached")
    assert names_left(house) == ["mine"]
    assert endpoint_named(house).status == "Deleting"
    (event,) = [one for one in mean_jobs.events_of(house) if one["Kind"] == "not_deployed"]
    assert event["Message"].startswith("The job's time limit was reached while the model was being deployed")


def test_a_key_that_was_withdrawn_deploys_nothing(house, later_worker):
    key, _ = house.credentials.create(account_id=house.settings.account_id, kind="operator", name="leaver")
    request = houses.mean_request(ModelDeployConfig=NAMED)
    mean_jobs.automl_jobs.create(house, key, request, invocation_id=None, region=houses.REGION)
    house.credentials.revoke(key.access_key_id)
    later_worker.start()
    job = mean_jobs.ended(house)
    assert f"The access key {key.access_key_id}" in job["PartialFailureReasons"][0]["PartialFailureMessage"]
    assert names_left(house) == []


def test_a_job_that_loses_its_worker_in_the_phase_goes_on_and_makes_nothing_twice(house):
    first = mean_jobs.new_worker(house)
    first.start()
    mean_jobs.create(house, ModelDeployConfig=NAMED)
    mean_jobs.wait_until(lambda: endpoint_named(house), "the endpoint")
    before = endpoint_named(house)
    first.stop()
    assert in_phase(house)
    with mean_endpoints.supervised(house):
        second = mean_jobs.new_worker(house)
        second.start()
        job = mean_jobs.ended(house)
        second.stop()
    assert job["ModelDeployResult"] == {"EndpointName": "mine"}
    assert endpoint_named(house).id == before.id
    assert names_left(house) == ["mean-0", "mine", "mine"]
    statuses = [one["Message"] for one in mean_jobs.events_of(house) if one["Kind"] == "status"]
    assert statuses.count("InProgress: DeployingModel") == 1
    assert mean_jobs.kinds_of(house).count("deploying") == 1


def test_a_worker_killed_between_a_step_and_its_note_repeats_the_step(house, worker, monkeypatch):
    calls = {"make_model": [], "make_config": [], "make_endpoint": []}

    def killed_once(step):
        make = getattr(deploying.deployments, step)

        def made(*given):
            calls[step].append(make(*given))
            if len(calls[step]) == 1:
                raise leases.LeaseLost("killed just then")
            return calls[step][-1]

        return made

    for step in calls:
        monkeypatch.setattr(deploying.deployments, step, killed_once(step))
    with mean_endpoints.supervised(house):
        mean_jobs.create(house, ModelDeployConfig=NAMED)
        job = mean_jobs.ended(house)
    assert job["ModelDeployResult"] == {"EndpointName": "mine"}
    assert all(made[0] == made[1] for made in calls.values())
    assert names_left(house) == ["mean-0", "mine", "mine"]


@pytest.mark.parametrize("answers", [False, True])
def test_workers_that_die_in_the_phase_again_and_again_cost_the_endpoint_at_most(tmp_path, answers):
    house = houses.build(tmp_path, (MEAN,), lease_seconds=2.0, job_attempts=1)
    first = mean_jobs.new_worker(house)
    first.start()
    mean_jobs.create(house, ModelDeployConfig=NAMED)
    mean_jobs.wait_until(lambda: endpoint_named(house), "the endpoint")
    first.stop()
    if answers:
        endpoint = endpoint_named(house)
        assert stored.set_status(house.db, endpoint.id, generation=1, status="InService", serving=endpoint.wanted)
    lease, _ = leases.claim(house.db, "one that dies", 60, None)
    leases.give_up(house.db, lease)
    second = mean_jobs.new_worker(house)
    second.start()
    job = mean_jobs.ended(house)
    second.stop()
    left = endpoint_named(house)
    house.db.close()
    assert job["AutoMLJobStatus"] == "Completed"
    if answers:
        assert (job["AutoMLJobSecondaryStatus"], left.status) == ("Completed", "InService")
        assert job["ModelDeployResult"] == {"EndpointName": "mine"}
        return
    assert (job["AutoMLJobSecondaryStatus"], left.status) == ("ModelDeploymentError", "Deleting")
    assert "The worker died once" in job["PartialFailureReasons"][0]["PartialFailureMessage"]
