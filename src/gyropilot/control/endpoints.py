"""The rules of endpoints, callable without HTTP: create, describe, list, update, delete.

What is wanted is written down here, with each variant's model as it is at that moment; the supervisor makes it so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gyropilot import clock, names
from gyropilot.control import (
    endpoint_configs,
    endpoint_descriptions,
    named_listings,
    page_tokens,
    repeated_calls,
    tags,
    transform_plans,
)
from gyropilot.control import variants as variants_of
from gyropilot.control.house import House
from gyropilot.control.refusals import Refusal, faults_of
from gyropilot.errors import Fault, InvalidRequest, NotFound
from gyropilot.store import endpoints, replicas, transform_jobs
from gyropilot.store.endpoints import EndpointRecord, ReplicaBound
from gyropilot.store.named_rows import NewRow
from gyropilot.store.principals import Principal

Json = Any

_DEPLOYMENT = "DeploymentConfig."
_ALL_AT_ONCE = "calls go to the new replicas all at once, as soon as all of them answer"
_REFUSALS = (
    Refusal(path="RollingUpdatePolicy", problem=f"replicas are not replaced in batches here: {_ALL_AT_ONCE}"),
    Refusal(path="AutoRollbackConfiguration", problem="there are no alarms here that could take an update back"),
    Refusal(
        path="BlueGreenUpdatePolicy.TrafficRoutingConfiguration.Type",
        problem=f"traffic is not shifted in steps here: {_ALL_AT_ONCE}",
        fix="write ALL_AT_ONCE",
        harmless=("ALL_AT_ONCE",),
    ),
    Refusal(
        path="BlueGreenUpdatePolicy.TrafficRoutingConfiguration.WaitIntervalInSeconds",
        problem=f"nothing is waited for between steps here: {_ALL_AT_ONCE}",
        fix="write 0",
        harmless=(0,),
    ),
    Refusal(
        path="BlueGreenUpdatePolicy.TrafficRoutingConfiguration.CanarySize",
        problem=f"traffic is not shifted in steps here: {_ALL_AT_ONCE}",
    ),
    Refusal(
        path="BlueGreenUpdatePolicy.TrafficRoutingConfiguration.LinearStepSize",
        problem=f"traffic is not shifted in steps here: {_ALL_AT_ONCE}",
    ),
    Refusal(
        path="BlueGreenUpdatePolicy.TerminationWaitInSeconds",
        problem="the former replicas end as soon as their running calls are answered",
        fix="write 0",
        harmless=(0,),
    ),
    Refusal(
        path="BlueGreenUpdatePolicy.MaximumExecutionTimeoutInSeconds",
        problem="an update takes as long as its variants may take to start",
        fix="leave it out; bound the start by ContainerStartupHealthCheckTimeoutInSeconds of each variant",
    ),
)


def create(
    house: House, principal: Principal, request: Mapping[str, Json], *, region: str, invocation_id: str | None = None
) -> str:
    """Store an endpoint, which is Creating then, and give its ARN.

    Raises:
        InvalidRequest: with every fault of the request.
        NotFound: the configuration, or the model of one of its variants, is not there.
        AlreadyExists: the name, in whatever letter case, is taken.
        LimitExceeded: the account has as many endpoints as may be, or would have more replicas than may be.
    """
    faults = [*_deployment_faults(request), *tags.faults_of(request.get("Tags", []))]
    if faults:
        raise InvalidRequest.of(faults)
    name, account_id = request["EndpointName"], principal.account_id
    made = endpoints.create(
        house.db,
        NewRow(account_id=account_id, region=region, name=name, arn=_arn(account_id, region, name)),
        principal=principal.access_key_id,
        wanted=_wanted(house, account_id, region, request),
        tags={tag["Key"]: tag["Value"] for tag in request.get("Tags", [])},
        most=house.settings.endpoints_per_account,
        bound=_bound(house, account_id),
        call=repeated_calls.mark_of(principal, invocation_id, request),
    )
    return made.arn


def describe(house: House, principal: Principal, region: str, name: str) -> dict[str, Json]:
    """Give DescribeEndpointOutput.

    Raises:
        NotFound: the caller has no such endpoint.
    """
    record = find(house, principal.account_id, region, name)
    return endpoint_descriptions.endpoint(record, replicas.of_endpoint(house.db, record.id))


def list_endpoints(house: House, principal: Principal, region: str, request: Mapping[str, Json]) -> dict[str, Json]:
    """Give ListEndpointsOutput."""
    page = endpoints.page(house.db, named_listings.query_of(principal, region, request))
    listed = [endpoint_descriptions.summary(one) for one in page.items]
    return {"Endpoints": listed} | page_tokens.next_token(request, page.next_cursor)


def update(house: House, principal: Principal, region: str, request: Mapping[str, Json]) -> str:
    """Want what another configuration says of an endpoint that is InService, and give its ARN.

    Raises:
        NotFound: the endpoint, the configuration, or the model of one of its variants is not there.
        InvalidRequest: with every fault of the request, or since the endpoint is not InService.
        LimitExceeded: the account would have more replicas than may be.
    """
    record = find(house, principal.account_id, region, request["EndpointName"])
    serving = _serving(record)
    faults = list(_deployment_faults(request))
    if request.get("ExcludeRetainedVariantProperties") and not request.get("RetainAllVariantProperties"):
        problem = "says what not to retain, and nothing is retained"
        fix = "set RetainAllVariantProperties to true, or leave this out"
        faults.append(Fault(where="ExcludeRetainedVariantProperties", problem=problem, fix=fix))
    if faults:
        raise InvalidRequest.of(faults)
    wanted = _wanted(house, principal.account_id, region, request)
    if request.get("RetainDeploymentConfig") and "deployment" in serving:
        wanted["deployment"] = serving["deployment"]
    if request.get("RetainAllVariantProperties"):
        excluded = [one["VariantPropertyType"] for one in request.get("ExcludeRetainedVariantProperties", [])]
        wanted["variants"] = _retaining(wanted["variants"], serving["variants"], excluded)
    return _want(house, record, wanted)


def update_weights_and_capacities(house: House, principal: Principal, region: str, request: Mapping[str, Json]) -> str:
    """Want other weights or numbers of replicas of an endpoint that is InService, and give its ARN.

    Raises:
        NotFound: the caller has no such endpoint.
        InvalidRequest: with every fault of the request, or since the endpoint is not InService.
        LimitExceeded: the account would have more replicas than may be.
    """
    record = find(house, principal.account_id, region, request["EndpointName"])
    serving = _serving(record)
    changes = {one["VariantName"]: one for one in request["DesiredWeightsAndCapacities"]}
    changed = [_changed(variant, changes.get(variant["name"], {})) for variant in serving["variants"]]
    faults = [
        *_faults_of_changes(request["DesiredWeightsAndCapacities"], [one["name"] for one in changed]),
        *variants_of.faults_of_weights("DesiredWeightsAndCapacities.DesiredWeight", [one["weight"] for one in changed]),
    ]
    if faults:
        raise InvalidRequest.of(faults)
    return _want(house, record, serving | {"variants": changed})


def delete(house: House, principal: Principal, region: str, name: str) -> None:
    """Let an endpoint be Deleting, from whatever it is; it is gone once its running calls are answered.

    Raises:
        NotFound: the caller has no such endpoint.
        InvalidRequest: it is being deleted already.
    """
    record = find(house, principal.account_id, region, name)
    if not endpoints.request_delete(house.db, record.id):
        raise _busy(find(house, principal.account_id, region, name))


def find(house: House, account_id: str, region: str, name: str) -> EndpointRecord:
    """Give an account's endpoint of exactly that name.

    Raises:
        NotFound: there is none.
    """
    record = endpoints.find(house.db, account_id, region, name)
    if record is None:
        raise NotFound(f'Could not find endpoint "{_arn(account_id, region, name)}".')
    return record


def _arn(account_id: str, region: str, name: str) -> str:
    return names.arn(region=region, account_id=account_id, kind="endpoint", name=name.lower())


def _deployment_faults(request: Mapping[str, Json]) -> Iterator[Fault]:
    return faults_of(_REFUSALS, request.get("DeploymentConfig", {}), _DEPLOYMENT)


def _wanted(house: House, account_id: str, region: str, request: Mapping[str, Json]) -> dict[str, Json]:
    config = endpoint_configs.find(house, account_id, region, request["EndpointConfigName"])
    wanted: dict[str, Json] = {
        "config_name": config.name,
        "resolved_at": clock.now().isoformat(),
        "variants": variants_of.bound(house, account_id, region, config.variants),
    }
    if "AsyncInferenceConfig" in config.request:
        wanted["async"] = config.request["AsyncInferenceConfig"]
    if "DeploymentConfig" in request:
        wanted["deployment"] = request["DeploymentConfig"]
    return wanted


def _serving(record: EndpointRecord) -> dict[str, Json]:
    """Give what an endpoint that may be updated serves."""
    if record.status != "InService" or record.serving is None:
        raise _busy(record)
    return record.serving


def _busy(record: EndpointRecord) -> InvalidRequest:
    wait = "only DeleteEndpoint can be called" if record.status == "Failed" else "wait until it is InService"
    if record.status == "Deleting":
        wait = "it ends by itself"
    verb = "change" if record.status in ("Failed", "Deleting") else "update in-progress"
    return InvalidRequest(
        where="EndpointName", found=record.status, problem=f'Cannot {verb} endpoint "{record.arn}"', fix=wait
    )


def _want(house: House, record: EndpointRecord, wanted: Mapping[str, Json]) -> str:
    changed = endpoints.update_wanted(
        house.db, record.id, wanted, {"InService"}, record.generation, _bound(house, record.account_id)
    )
    if changed is None:  # another call came between
        there = find(house, record.account_id, record.region, record.name)
        raise _busy(there)
    return changed.arn


def _bound(house: House, account_id: str) -> ReplicaBound:
    running = transform_jobs.running_requests(house.db, account_id)
    transforming = sum(transform_plans.replicas_of(one) for one in running)
    return ReplicaBound(most=house.settings.replicas_per_account, taken_elsewhere=transforming)


def _retaining(
    wanted: list[dict[str, Json]], serving: list[dict[str, Json]], excluded: list[str]
) -> list[dict[str, Json]]:
    """Give variants with the weights and numbers of replicas that those of the same names have."""
    kept_by_type = {"DesiredWeight": "weight", "DesiredInstanceCount": "instances"}
    kept = [key for kind, key in kept_by_type.items() if kind not in excluded]
    by_name = {one["name"]: one for one in serving}
    return [one | {key: by_name[one["name"]][key] for key in kept if one["name"] in by_name} for one in wanted]


def _changed(variant: Mapping[str, Json], change: Mapping[str, Json]) -> dict[str, Json]:
    return dict(variant) | {
        "weight": float(change.get("DesiredWeight", variant["weight"])),
        "instances": change.get("DesiredInstanceCount", variant["instances"]),
    }


def _faults_of_changes(changes: list[Mapping[str, Json]], known: list[str]) -> Iterator[Fault]:
    names_given = [one["VariantName"] for one in changes]
    for number, change in enumerate(changes):
        where = f"DesiredWeightsAndCapacities[{number}]."
        name = change["VariantName"]
        if name not in known:
            problem, fix = "the endpoint has no such variant", f"name one of {', '.join(known)}"
            yield Fault(where=f"{where}VariantName", found=name, problem=problem, fix=fix)
        if name in names_given[:number]:
            problem, fix = "this variant stands more than once", "name each variant once"
            yield Fault(where=f"{where}VariantName", found=name, problem=problem, fix=fix)
        if "ServerlessUpdateConfig" in change:
            problem, fix = "replicas run as long as their endpoint", "give DesiredInstanceCount instead"
            yield Fault(where=f"{where}ServerlessUpdateConfig", problem=problem, fix=fix)
        if "DesiredInstanceCount" in change:
            yield from variants_of.fault_of_instances(f"{where}DesiredInstanceCount", change["DesiredInstanceCount"])
