"""An unmodified client makes models and endpoints; a waiter ends when the supervisor has said so."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError, WaiterError

import houses
from gyropilot.store import endpoints as rows
from published_models import bring_into_service, config_request, model_request, publish, variant

ACCOUNT = "000000000000"
KINDS = ("model", "endpoint_config", "endpoint")
AT_ONCE = {"Delay": 0, "MaxAttempts": 3}


@pytest.fixture(scope="module")
def container(server):
    return publish(server.house)


@pytest.fixture(scope="module")
def create(sagemaker, container):
    """Make a model, a configuration and an endpoint of one name; give the ARN of each by its kind."""

    def make(name, **tags):
        given = {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
        model = sagemaker.create_model(**model_request(name, container, **given))
        config = sagemaker.create_endpoint_config(**config_request(name, variant(name), **given))
        endpoint = sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name, **given)
        return dict(zip(KINDS, (model["ModelArn"], config["EndpointConfigArn"], endpoint["EndpointArn"]), strict=True))

    return make


def find(server, name):
    return rows.find(server.house.db, ACCOUNT, houses.REGION, name)


def message_of(call, **request):
    with pytest.raises(ClientError) as caught:
        call(**request)
    error = caught.value.response
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 400
    return error["Error"]["Code"], error["Error"]["Message"]


def test_waiters_end_with_the_endpoint_in_service_and_with_it_gone(server, sagemaker, create):
    create("Waited")
    in_service, deleted = sagemaker.get_waiter("endpoint_in_service"), sagemaker.get_waiter("endpoint_deleted")
    with pytest.raises(WaiterError, match="Max attempts exceeded"):
        in_service.wait(EndpointName="Waited", WaiterConfig=AT_ONCE)
    bring_into_service(server.house, "Waited")
    in_service.wait(EndpointName="Waited", WaiterConfig=AT_ONCE)
    sagemaker.delete_endpoint(EndpointName="Waited")
    with pytest.raises(WaiterError, match="Max attempts exceeded"):
        deleted.wait(EndpointName="Waited", WaiterConfig=AT_ONCE)
    rows.remove(server.house.db, find(server, "Waited").id)
    deleted.wait(EndpointName="Waited", WaiterConfig=AT_ONCE)


def test_a_waiter_ends_when_the_endpoint_failed(server, sagemaker, create):
    create("Doomed")
    reason = "The model could not be loaded."
    rows.set_status(server.house.db, find(server, "Doomed").id, generation=1, status="Failed", failure_reason=reason)
    with pytest.raises(WaiterError, match="terminal failure state"):
        sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="Doomed", WaiterConfig=AT_ONCE)
    assert sagemaker.describe_endpoint(EndpointName="Doomed")["FailureReason"] == reason


def test_what_is_missing_or_there_already_is_told_in_the_service_s_words(sagemaker, container, create):
    arns = create("Twice")
    model, config, endpoint = (arns[kind] for kind in KINDS)
    words = {"ModelName": ("model", model), "EndpointConfigName": ("endpoint configuration", config)}
    words["EndpointName"] = ("endpoint", endpoint)
    for member, kind in zip(("ModelName", "EndpointConfigName", "EndpointName"), KINDS, strict=True):
        for verb in ("describe", "delete"):
            told = message_of(getattr(sagemaker, f"{verb}_{kind}"), **{member: "Nowhere"})
            arn = words[member][1].replace("twice", "nowhere")
            assert told == ("ValidationException", f'Could not find {words[member][0]} "{arn}".')
    creates = (
        ("ModelName", sagemaker.create_model, model_request("TWICE", container)),
        ("EndpointConfigName", sagemaker.create_endpoint_config, config_request("TWICE", variant("Twice"))),
        ("EndpointName", sagemaker.create_endpoint, {"EndpointName": "TWICE", "EndpointConfigName": "Twice"}),
    )
    for member, call, request in creates:
        told = message_of(call, **request)
        taken = f'Cannot create already existing {words[member][0]} "{words[member][1]}".'
        assert told == ("ValidationException", taken)
    updates = (
        (sagemaker.update_endpoint, {"EndpointConfigName": "Twice"}),
        (
            sagemaker.update_endpoint_weights_and_capacities,
            {"DesiredWeightsAndCapacities": [{"VariantName": "v", "DesiredWeight": 1}]},
        ),
    )
    for call, request in updates:
        missing = message_of(call, EndpointName="twice", **request)
        assert missing == ("ValidationException", f'Could not find endpoint "{endpoint}".')
        assert "in-progress endpoint" in message_of(call, EndpointName="Twice", **request)[1]


def test_an_endpoint_is_updated_and_reweighted(server, sagemaker, create):
    arns = create("Changed")
    bring_into_service(server.house, "Changed")
    other = config_request("Changed-2", variant("Changed", "w"))
    sagemaker.create_endpoint_config(**other)
    updated = sagemaker.update_endpoint(EndpointName="Changed", EndpointConfigName="Changed-2")
    assert updated["EndpointArn"] == arns["endpoint"]
    pending = sagemaker.describe_endpoint(EndpointName="Changed")["PendingDeploymentSummary"]
    assert pending["EndpointConfigName"] == "Changed-2"
    bring_into_service(server.house, "Changed")
    change = [{"VariantName": "w", "DesiredInstanceCount": 3}]
    changed = sagemaker.update_endpoint_weights_and_capacities(
        EndpointName="Changed", DesiredWeightsAndCapacities=change
    )
    assert changed["EndpointArn"] == arns["endpoint"]
    described = sagemaker.describe_endpoint(EndpointName="Changed")
    assert described["EndpointStatus"] == "Updating"
    assert described["ProductionVariants"][0]["DesiredInstanceCount"] == 3


def test_all_of_them_bear_tags_until_they_go(server, sagemaker, create):
    arns = create("Tagged", team="a")
    for arn in arns.values():
        sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "k", "Value": "v"}])
        sagemaker.delete_tags(ResourceArn=arn, TagKeys=["team"])
        assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "k", "Value": "v"}]
    sagemaker.delete_model(ModelName="Tagged")
    sagemaker.delete_endpoint_config(EndpointConfigName="Tagged")
    for kind in ("model", "endpoint_config"):
        assert "There is no resource" in message_of(sagemaker.list_tags, ResourceArn=arns[kind])[1]
    create("Tagged-2")
    again = sagemaker.list_tags(ResourceArn=arns["endpoint"])["Tags"]
    assert again == [{"Key": "k", "Value": "v"}], "an endpoint outlives its model and its configuration"


@pytest.mark.parametrize(
    ("kind", "member", "listing"),
    [
        ("model", "ModelName", "Models"),
        ("endpoint_config", "EndpointConfigName", "EndpointConfigs"),
        ("endpoint", "EndpointName", "Endpoints"),
    ],
)
def test_listings_have_every_filter_order_and_page(server, sagemaker, container, create, kind, member, listing):
    begin = f"x{len(kind)}-"
    names = [f"{begin}{one}" for one in ("b", "A", "c")]
    made = [create(name) for name in names]

    def listed(**request):
        given = {"NameContains": begin, "PaginationConfig": {"PageSize": 2}} | request
        pages = sagemaker.get_paginator(f"list_{kind}s").paginate(**given)
        return [one[member] for page in pages for one in page[listing]]

    b, a, c = names
    assert listed() == [c, a, b]
    assert listed(SortOrder="Ascending") == names
    assert listed(SortBy="Name", SortOrder="Ascending") == [a, b, c]
    assert listed(SortBy="Name") == [c, b, a]
    assert listed(NameContains=f"{begin}a") == [a]
    times = [one["CreationTime"] for one in getattr(sagemaker, f"list_{kind}s")(NameContains=a)[listing]]
    assert (
        listed(CreationTimeAfter=times[0].replace(year=2100))
        == listed(CreationTimeBefore=times[0].replace(year=2000))
        == []
    )
    first = getattr(sagemaker, f"list_{kind}s")(MaxResults=1)
    assert [one[f"{member[:-4]}Arn"] for one in first[listing]] == [made[2][kind]]
    token = first["NextToken"]
    assert "other filters" in message_of(getattr(sagemaker, f"list_{kind}s"), NextToken=token, SortBy="Name")[1]
    if kind == "endpoint":
        bring_into_service(server.house, a)
        assert listed(StatusEquals="InService") == [a]
        assert listed(StatusEquals="Creating", SortBy="Status", SortOrder="Ascending", NameContains=b) == [b]
        assert listed(LastModifiedTimeBefore=times[0].replace(year=2000)) == []


def test_all_faults_of_a_model_reach_the_client_at_once(sagemaker, container):
    request = model_request("faulty", container | {"Image": "nginx", "ModelDataUrl": "s3://data/numbers/a.csv"})
    code, message = message_of(sagemaker.create_model, **request)
    assert code == "ValidationException"
    assert "PrimaryContainer.Image: is no image of this service" in message
    assert "PrimaryContainer.ModelDataUrl: is no model data that a job of this account wrote" in message


def test_the_audit_log_names_what_was_changed_or_was_to_be(server, sagemaker, container, create):
    arns = create("Audited")
    with pytest.raises(ClientError):
        sagemaker.create_model(**model_request("Refused", container | {"Image": "nginx"}))
    with pytest.raises(ClientError):
        sagemaker.create_endpoint(EndpointConfigName="Nowhere", EndpointName="Refused-2")
    sagemaker.delete_endpoint(EndpointName="Audited")
    lines = [json.loads(line) for line in server.house.settings.audit.read_text().splitlines()][-6:]
    assert [(one["action"], one["resource"], one["result"]) for one in lines] == [
        ("sagemaker:CreateModel", arns["model"], "OK"),
        ("sagemaker:CreateEndpointConfig", arns["endpoint_config"], "OK"),
        ("sagemaker:CreateEndpoint", arns["endpoint"], "OK"),
        ("sagemaker:CreateModel", "Refused", "ValidationException"),
        ("sagemaker:CreateEndpoint", "Refused-2", "ValidationException"),
        ("sagemaker:DeleteEndpoint", "Audited", "OK"),
    ]
