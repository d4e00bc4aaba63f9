"""ModelDeployConfig: which forms are taken at create, and that a job takes away what it made and nothing else."""

from dataclasses import replace

import pytest

import houses
import mean_jobs
from gyropilot import names
from gyropilot.control import automl_jobs, deployments
from gyropilot.errors import InvalidRequest
from gyropilot.sdk.endpoints import MADE_FOR_TAG
from gyropilot.store import candidates, endpoint_configs, endpoints, jobs, models, tags
from gyropilot.store.named_rows import NamedQuery, NewRow
from published_models import create_config, create_endpoint, create_model, publish, variant


@pytest.mark.parametrize(
    "config",
    [
        {"AutoGenerateEndpointName": True},
        {"EndpointName": "mine"},
        {"AutoGenerateEndpointName": False, "EndpointName": "mine"},
    ],
)
def test_both_forms_are_taken_and_echoed(house, admin, config):
    mean_jobs.create(house, ModelDeployConfig=config)
    described = automl_jobs.describe(house, admin, houses.REGION, "job")
    assert described["ModelDeployConfig"] == config
    assert "ModelDeployResult" not in described


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"AutoGenerateEndpointName": True, "EndpointName": "mine"},
            r"ModelDeployConfig.AutoGenerateEndpointName, ModelDeployConfig.EndpointName: both say how .*leave out",
        ),
        ({"AutoGenerateEndpointName": False}, r"ModelDeployConfig.EndpointName: is missing, .*; name the endpoint"),
        ({}, r"ModelDeployConfig.EndpointName: is missing, .*or leave ModelDeployConfig out"),
        ({"EndpointName": "Taken"}, r"ModelDeployConfig.EndpointName: an endpoint of this account .*; choose another"),
    ],
)
def test_other_forms_are_refused_by_name(house, config, message):
    row = NewRow(account_id=names.ACCOUNT_ID, region=houses.REGION, name="taken", arn="arn:aws:sagemaker:x")
    endpoints.create(house.db, row, principal="GYRO", wanted={"config_name": "c", "variants": []}, tags={})
    with pytest.raises(InvalidRequest, match=message):
        mean_jobs.create(house, ModelDeployConfig=config)


def test_faults_of_the_deployment_are_told_with_all_others(house):
    with pytest.raises(InvalidRequest) as caught:
        mean_jobs.create(house, ModelDeployConfig={}, RoleArn="arn:aws:iam::000000000000:role/none-such")
    assert {fault.where for fault in caught.value.faults} >= {"ModelDeployConfig.EndpointName", "RoleArn"}


QUERY = NamedQuery(account_id=names.ACCOUNT_ID, region=houses.REGION, sort_by="Name", sort_order="Ascending", limit=9)
PLACE = (names.ACCOUNT_ID, houses.REGION)


def planned(house, container):
    """Give a job, its candidate, and the names under which it is to be deployed."""
    mean_jobs.create(house, ModelDeployConfig={"EndpointName": "mine"}, tags={"team": "blue"})
    job = jobs.find(house.db, *PLACE, "job")
    trained = jobs.find(house.db, *PLACE, "trained")
    candidate = candidates.find(house.db, trained.id, "trained")
    candidate = replace(candidate, name="best", body={"InferenceContainers": [container]})
    return job, candidate, deployments.planned(job, candidate)


def made_by_the_user(house, container):
    """Make something under each name that a job plans to deploy under; give how to look at it."""
    create_model(house, "best", container)
    create_config(house, "mine", variant("best"))
    create_endpoint(house, "mine", "mine")
    found = (models, "best"), (endpoint_configs, "mine"), (endpoints, "mine")
    return lambda: [kind.find(house.db, *PLACE, name) for kind, name in found]


def test_what_another_call_made_under_a_planned_name_is_not_taken_away(house):
    container = publish(house, "trained")
    job, _, deployment = planned(house, container)
    look = made_by_the_user(house, container)
    before = look()
    assert None not in before
    deployments.take_away(house, job, deployment)
    assert look() == before


def test_what_was_made_is_taken_away_though_nothing_of_it_was_noted(house):
    container = publish(house, "trained")
    job, candidate, deployment = planned(house, container)
    made = deployments.make_config(house, job, deployments.make_model(house, job, candidate, deployment))
    deployments.make_endpoint(house, job, made)
    expected = {"team": "blue", MADE_FOR_TAG: "mine"}
    for kind, name in (models, made.model_name), (endpoint_configs, made.config_name):
        assert tags.all_of(house.db, kind.find(house.db, *PLACE, name).arn) == expected
    assert tags.all_of(house.db, endpoints.find(house.db, *PLACE, "mine").arn) == {"team": "blue"}
    deployments.take_away(house, job, deployment)
    assert endpoints.find(house.db, *PLACE, "mine").status == "Deleting"
    assert [kind.page(house.db, QUERY).items for kind in (models, endpoint_configs)] == [(), ()]


def test_what_was_made_under_another_name_is_taken_away_and_not_what_had_the_first(house):
    container = publish(house, "trained")
    job, candidate, deployment = planned(house, container)
    look = made_by_the_user(house, container)
    before = look()
    made = deployments.make_config(house, job, deployments.make_model(house, job, candidate, deployment))
    assert made.model_name.startswith("best-")
    assert made.config_name.startswith("mine-")
    deployments.take_away(house, job, deployment)
    assert look() == before
    assert [one.name for kind in (models, endpoint_configs) for one in kind.page(house.db, QUERY).items] == [
        "best",
        "mine",
    ]
