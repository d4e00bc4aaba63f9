from __future__ import annotations

from dataclasses import replace

import pytest

import houses
from gyropilot.control import endpoint_configs, endpoints, models
from gyropilot.errors import AlreadyExists, InvalidRequest, LimitExceeded, NotFound
from gyropilot.store import endpoints as rows
from gyropilot.store import replicas
from gyropilot.store.replicas import ReplicaRecord
from mean_problem import MEAN
from published_models import bring_into_service, create_config, create_endpoint, create_model, publish, variant

ACCOUNT = "000000000000"
ARN = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:endpoint"
ALL_AT_ONCE = {
    "BlueGreenUpdatePolicy": {
        "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
        "TerminationWaitInSeconds": 0,
    }
}


@pytest.fixture
def house(tmp_path):
    house = houses.build(tmp_path, (MEAN,), endpoints_per_account=2)
    container = publish(house)
    for name in ("M1", "M2"):
        create_model(house, name, container)
    create_config(house, "one", variant("M1", "a", InitialVariantWeight=3), variant("M2", "b"))
    create_config(house, "two", variant("M2", "a", InitialInstanceCount=2), variant("M2", "c"))
    yield house
    house.db.close()


@pytest.fixture
def endpoint(house):
    """An endpoint that is InService with the configuration `one`."""
    create_endpoint(house, "E", "one")
    bring_into_service(house, "E")
    return lambda: rows.find(house.db, ACCOUNT, houses.REGION, "E")


def described(house, name="E"):
    return endpoints.describe(house, houses.admin(house), houses.REGION, name)


def update(house, config, **chosen):
    request = {"EndpointName": "E", "EndpointConfigName": config} | chosen
    return endpoints.update(house, houses.admin(house), houses.REGION, request)


def change(house, *changes):
    request = {"EndpointName": "E", "DesiredWeightsAndCapacities": list(changes)}
    return endpoints.update_weights_and_capacities(house, houses.admin(house), houses.REGION, request)


def delete(house, name="E"):
    endpoints.delete(house, houses.admin(house), houses.REGION, name)


def put_replica(house, endpoint, key, status="Ready", generation=1):
    name, number = key
    record = ReplicaRecord(
        id=f"{generation}{key}",
        endpoint_id=endpoint.id,
        generation=generation,
        variant=name,
        number=int(number),
        status=status,
        socket="s",
        model="m",
        restarts=0,
    )
    replicas.put(house.db, record)


def shown(variants):
    told = ("CurrentWeight", "DesiredWeight", "CurrentInstanceCount", "DesiredInstanceCount")
    return {one["VariantName"]: tuple(one.get(name) for name in told) for one in variants}


def test_an_endpoint_keeps_its_models_as_they_were(house):
    answers = {"OutputConfig": {"S3OutputPath": "s3://data/answers"}}
    create_config(house, "async", variant("M1"), AsyncInferenceConfig=answers)
    assert create_endpoint(house, "E", "async", DeploymentConfig=ALL_AT_ONCE) == f"{ARN}/e"
    wanted = rows.find(house.db, ACCOUNT, houses.REGION, "E").wanted
    admin = houses.admin(house)
    snapshot = models.snapshot(house, ACCOUNT, houses.REGION, "M1")
    assert wanted.pop("resolved_at")
    assert wanted == {
        "config_name": "async",
        "variants": [
            {
                "name": "v",
                "weight": 1.0,
                "instances": 1,
                "instance_type": "ml.m5.large",
                "startup_seconds": 600,
                "download_seconds": 3600,
                "model": snapshot,
            }
        ],
        "async": answers,
        "deployment": ALL_AT_ONCE,
    }
    models.delete(house, admin, houses.REGION, "M1")
    endpoint_configs.delete(house, admin, houses.REGION, "async")
    bring_into_service(house, "E")
    there = described(house)
    assert (there["EndpointStatus"], there["EndpointConfigName"]) == ("InService", "async")
    assert (there["AsyncInferenceConfig"], there["LastDeploymentConfig"]) == (answers, ALL_AT_ONCE)


def test_an_endpoint_is_told_from_its_creation_to_its_end(house):
    create_endpoint(house, "E", "one")
    there = described(house)
    assert there["EndpointStatus"] == "Creating"
    assert shown(there["ProductionVariants"]) == {"a": (0.0, 3.0, 0, 1), "b": (0.0, 1.0, 0, 1)}
    assert there["ProductionVariants"][0]["VariantStatus"][0]["Status"] == "Creating"
    record = rows.find(house.db, ACCOUNT, houses.REGION, "E")
    put_replica(house, record, "a1")
    put_replica(house, record, "b1", "Starting")
    bring_into_service(house, "E")
    there = described(house)
    assert shown(there["ProductionVariants"]) == {"a": (3.0, 3.0, 1, 1), "b": (1.0, 1.0, 0, 1)}
    (image,) = there["ProductionVariants"][0]["DeployedImages"]
    assert image["SpecifiedImage"] == image["ResolvedImage"] == "gyropilot/mean:1"
    assert not {"VariantStatus", "FailureReason", "PendingDeploymentSummary"} & there["ProductionVariants"][0].keys()
    delete(house)
    assert described(house)["EndpointStatus"] == "Deleting"
    with pytest.raises(InvalidRequest, match="Cannot change"):
        delete(house)
    rows.remove(house.db, record.id)
    for call in (described, delete):
        with pytest.raises(NotFound, match=f'^Could not find endpoint "{ARN}/e".$'):
            call(house)


def test_a_failed_endpoint_says_why_and_can_only_be_deleted(house):
    create_endpoint(house, "E", "one")
    record = rows.find(house.db, ACCOUNT, houses.REGION, "E")
    rows.set_status(house.db, record.id, generation=1, status="Failed", failure_reason="r" * 2000)
    there = described(house)
    assert (there["EndpointStatus"], there["FailureReason"]) == ("Failed", "r" * 1024)
    for call in (lambda: update(house, "two"), lambda: change(house, {"VariantName": "a", "DesiredWeight": 1})):
        with pytest.raises(InvalidRequest, match=r"found 'Failed'\); only DeleteEndpoint"):
            call()
    delete(house)


def test_an_update_shows_what_is_served_and_what_is_to_be(house, endpoint):
    put_replica(house, endpoint(), "a1")
    assert update(house, "two", DeploymentConfig=ALL_AT_ONCE) == f"{ARN}/e"
    put_replica(house, endpoint(), "a1", generation=2)
    put_replica(house, endpoint(), "c1", "Starting", generation=2)
    there = described(house)
    assert (there["EndpointStatus"], there["EndpointConfigName"]) == ("Updating", "one")
    assert shown(there["ProductionVariants"]) == {"a": (3.0, 1.0, 1, 2), "b": (1.0, None, 0, None)}
    pending = there["PendingDeploymentSummary"]
    assert pending["EndpointConfigName"] == "two"
    assert shown(pending["ProductionVariants"]) == {"a": (0.0, 1.0, 1, 2), "c": (0.0, 1.0, 0, 1)}
    assert "LastDeploymentConfig" not in there
    with pytest.raises(InvalidRequest, match=f'Cannot update in-progress endpoint "{ARN}/e" .*Updating'):
        update(house, "one")
    bring_into_service(house, "E")
    there = described(house)
    assert (there["EndpointConfigName"], there["LastDeploymentConfig"]) == ("two", ALL_AT_ONCE)
    assert "PendingDeploymentSummary" not in there
    update(house, "one", RetainDeploymentConfig=True)
    assert endpoint().wanted["deployment"] == ALL_AT_ONCE


def test_a_failed_update_leaves_what_was_served_and_the_next_one_begins_from_there(house, endpoint):
    update(house, "two")
    rows.set_status(house.db, endpoint().id, generation=2, status="InService", failure_reason="no room")
    there = described(house)
    assert (there["EndpointStatus"], there["FailureReason"], there["EndpointConfigName"]) == (
        "InService",
        "no room",
        "one",
    )
    assert shown(there["ProductionVariants"])["a"] == (3.0, 3.0, 0, 1)
    change(house, {"VariantName": "b", "DesiredInstanceCount": 2})
    assert [one["name"] for one in endpoint().wanted["variants"]] == ["a", "b"]
    assert "FailureReason" not in described(house)


@pytest.mark.parametrize(
    ("excluded", "a"),
    [([], (3.0, 1)), (["DesiredWeight", "DataCaptureConfig"], (1.0, 1)), (["DesiredInstanceCount"], (3.0, 2))],
)
def test_an_update_may_retain_what_variants_of_the_same_name_have(house, endpoint, excluded, a):
    given = [{"VariantPropertyType": one} for one in excluded]
    update(house, "two", RetainAllVariantProperties=True, ExcludeRetainedVariantProperties=given)
    wanted = {one["name"]: (one["weight"], one["instances"]) for one in endpoint().wanted["variants"]}
    assert wanted == {"a": a, "c": (1.0, 1)}


def test_weights_and_capacities_change_alone(house, endpoint):
    before = endpoint().serving
    change(house, {"VariantName": "b", "DesiredWeight": 0}, {"VariantName": "a", "DesiredInstanceCount": 16})
    there = endpoint()
    assert (there.status, there.generation) == ("Updating", 2)
    changed = [{"weight": 3.0, "instances": 16}, {"weight": 0.0, "instances": 1}]
    variants = [one | new for one, new in zip(before["variants"], changed, strict=True)]
    assert there.wanted == before | {"variants": variants}
    told = described(house)
    assert shown(told["ProductionVariants"]) == {"a": (3.0, 3.0, 0, 16), "b": (1.0, 0.0, 0, 1)}
    assert "PendingDeploymentSummary" not in told


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ([{"VariantName": "A"}], "[0].VariantName"),
        ([{"VariantName": "a"}, {"VariantName": "a"}], "[1].VariantName"),
        ([{"VariantName": "a", "DesiredInstanceCount": 0}], "[0].DesiredInstanceCount"),
        ([{"VariantName": "a", "DesiredInstanceCount": 17}], "[0].DesiredInstanceCount"),
        ([{"VariantName": "a", "ServerlessUpdateConfig": {}}], "[0].ServerlessUpdateConfig"),
        ([{"VariantName": "a", "DesiredWeight": 0}, {"VariantName": "b", "DesiredWeight": 0}], ".DesiredWeight"),
    ],
)
def test_a_change_that_cannot_be_is_refused_and_changes_nothing(house, endpoint, changes, where):
    before = endpoint()
    with pytest.raises(InvalidRequest) as caught:
        change(house, *changes)
    assert [one.where for one in caught.value.faults] == [f"DesiredWeightsAndCapacities{where}"]
    assert endpoint() == before


ROUTING = "BlueGreenUpdatePolicy.TrafficRoutingConfiguration"


@pytest.mark.parametrize(
    ("config", "where"),
    [
        ({"RollingUpdatePolicy": {}}, "RollingUpdatePolicy"),
        ({"AutoRollbackConfiguration": {"Alarms": []}}, "AutoRollbackConfiguration"),
        ({"BlueGreenUpdatePolicy": {"TerminationWaitInSeconds": 1}}, "BlueGreenUpdatePolicy.TerminationWaitInSeconds"),
        ({"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": {"Type": "LINEAR"}}}, f"{ROUTING}.Type"),
        (
            {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": {"WaitIntervalInSeconds": 5}}},
            f"{ROUTING}.WaitIntervalInSeconds",
        ),
        ({"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": {"CanarySize": {}}}}, f"{ROUTING}.CanarySize"),
    ],
)
def test_a_deployment_that_cannot_be_honoured_is_refused(house, endpoint, config, where):
    for call in (
        lambda: update(house, "two", DeploymentConfig=config),
        lambda: create_endpoint(house, "N", "one", DeploymentConfig=config),
    ):
        with pytest.raises(InvalidRequest) as caught:
            call()
        assert [one.where for one in caught.value.faults] == [f"DeploymentConfig.{where}"]


def test_what_an_endpoint_is_made_of_must_be_there(house, endpoint):
    config = f'^Could not find endpoint configuration "arn:aws:sagemaker:us-east-1:{ACCOUNT}:endpoint-config/'
    for call in (create_endpoint, lambda house, _, name: update(house, name)):
        with pytest.raises(NotFound, match=f'{config}nowhere".$'):
            call(house, "New", "nowhere")
        with pytest.raises(NotFound, match=f'{config}one".$'):
            call(house, "New", "ONE")
    models.delete(house, houses.admin(house), houses.REGION, "M2")
    for call in (create_endpoint, lambda house, _, name: update(house, name)):
        with pytest.raises(NotFound, match=r"^Could not find model .*model/m2"):
            call(house, "New", "two")
    with pytest.raises(InvalidRequest, match="nothing is retained"):
        update(house, "one", ExcludeRetainedVariantProperties=[{"VariantPropertyType": "DesiredWeight"}])


def test_a_name_is_taken_once_and_an_account_has_so_many_endpoints(house, endpoint):
    with pytest.raises(AlreadyExists, match=f'^Cannot create already existing endpoint "{ARN}/e".$'):
        create_endpoint(house, "e", "one")
    with pytest.raises(NotFound):
        described(house, "e")
    request = {"EndpointName": "Again", "EndpointConfigName": "one"}
    for _ in range(2):
        arn = endpoints.create(house, houses.admin(house), request, region=houses.REGION, invocation_id="one-call")
        assert arn == f"{ARN}/again"
    told = (
        "^The account-level service limit 'Number of endpoints' is 2 Endpoints, with current utilization of 2 Endpoints"
        " and a request delta of 1 Endpoints. .* setting endpoints_per_account.$"
    )
    with pytest.raises(LimitExceeded, match=told):
        create_endpoint(house, "third", "one")


def test_an_account_has_so_many_replicas(house, endpoint):
    house = replace(house, settings=replace(house.settings, replicas_per_account=5))
    create_endpoint(house, "Other", "two")  # three beside the two of E
    told = (
        "^The account-level service limit 'Total number of instances across active endpoints' is 5 Instances, with "
        "current utilization of 5 Instances and a request delta of 1 Instances. .* setting replicas_per_account.$"
    )
    for call in (
        lambda: update(house, "two"),
        lambda: change(house, {"VariantName": "a", "DesiredInstanceCount": 2}),
    ):
        with pytest.raises(LimitExceeded, match=told):
            call()
    assert endpoint().status == "InService"
    change(house, {"VariantName": "a", "DesiredWeight": 2})
    other = rows.find(house.db, ACCOUNT, houses.REGION, "Other")
    rows.set_status(house.db, other.id, generation=1, status="Failed", failure_reason="r")
    bring_into_service(house, "E")
    change(house, {"VariantName": "a", "DesiredInstanceCount": 4})
    delete(house, "Other")
    rows.remove(house.db, other.id)
    with pytest.raises(LimitExceeded, match="utilization of 5 Instances and a request delta of 3 Instances"):
        create_endpoint(house, "Other", "two")
