"""ModelDeployConfig at create: which forms are taken, and how the others are refused."""

import pytest

import houses
import mean_jobs
from gyropilot import names
from gyropilot.control import automl_jobs
from gyropilot.errors import InvalidRequest
from gyropilot.store import endpoints
from gyropilot.store.named_rows import NewRow


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
