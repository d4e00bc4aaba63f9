"""The rules of endpoint configurations, callable without HTTP: create, describe, list, delete."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gyropilot import names
from gyropilot.control import named_listings, page_tokens, repeated_calls, tags, variants
from gyropilot.control.house import House
from gyropilot.control.places import open_places, uri_faults
from gyropilot.control.refusals import Refusal, faults_of
from gyropilot.errors import Fault, InvalidRequest, NotFound
from gyropilot.store import endpoint_configs
from gyropilot.store.endpoint_configs import EndpointConfigRecord
from gyropilot.store.named_rows import NewRow
from gyropilot.store.principals import Principal

Json = Any

_REFUSALS = (
    Refusal(path="DataCaptureConfig", problem="calls and answers are not captured here"),
    Refusal(path="KmsKeyId", problem="nothing that an endpoint keeps is encrypted with keys here"),
    Refusal(path="ExplainerConfig", problem="endpoints give no explanations here"),
    Refusal(path="ShadowProductionVariants", problem="calls are not shadowed here", fix="give the variant a weight"),
    Refusal(path="ExecutionRoleArn", problem="there are no inference components here; models bring their role"),
    Refusal(path="VpcConfig", problem="endpoints run on this machine, in no VPC"),
    Refusal(path="MetricsConfig", problem="endpoints send metrics nowhere here"),
    Refusal(path="AsyncInferenceConfig.OutputConfig.KmsKeyId", problem="answers are not encrypted with keys here"),
    Refusal(
        path="AsyncInferenceConfig.OutputConfig.NotificationConfig",
        problem="there is no SNS here to tell of answers",
        fix="leave it out, and look for the object at OutputLocation",
    ),
)
_ECHOED = ("ProductionVariants", "AsyncInferenceConfig", "EnableNetworkIsolation")


def create(
    house: House, principal: Principal, request: Mapping[str, Json], *, region: str, invocation_id: str | None = None
) -> str:
    """Store an endpoint configuration and give its ARN.

    Raises:
        InvalidRequest: with every fault of the request.
        NotFound: a variant's model is not there, and nothing else is wrong.
        AlreadyExists: the name, in whatever letter case, is taken.
    """
    name, account_id = request["EndpointConfigName"], principal.account_id
    config = NewRow(account_id=account_id, region=region, name=name, arn=_arn(account_id, region, name))
    admitted = _admitted(house, principal, region, request)
    given = {tag["Key"]: tag["Value"] for tag in request.get("Tags", [])}
    call = repeated_calls.mark_of(principal, invocation_id, request)
    made = endpoint_configs.create(house.db, config, request=request, variants=admitted, tags=given, call=call)
    return made.arn


def describe(house: House, principal: Principal, region: str, name: str) -> dict[str, Json]:
    """Give DescribeEndpointConfigOutput.

    Raises:
        NotFound: the caller has no such configuration.
    """
    record = find(house, principal.account_id, region, name)
    echoed = {member: record.request[member] for member in _ECHOED if member in record.request}
    shown = {"EndpointConfigName": record.name, "EndpointConfigArn": record.arn, "CreationTime": record.created_at}
    return echoed | shown


def list_configs(house: House, principal: Principal, region: str, request: Mapping[str, Json]) -> dict[str, Json]:
    """Give ListEndpointConfigsOutput."""
    page = endpoint_configs.page(house.db, named_listings.query_of(principal, region, request))
    listed = named_listings.summaries("EndpointConfig", page.items)
    return {"EndpointConfigs": listed} | page_tokens.next_token(request, page.next_cursor)


def delete(house: House, principal: Principal, region: str, name: str) -> None:
    """Remove a configuration's record; endpoints that were made of it stay.

    Raises:
        NotFound: the caller has no such configuration.
    """
    if not endpoint_configs.remove(house.db, principal.account_id, region, name):
        raise _missing(principal.account_id, region, name)


def find(house: House, account_id: str, region: str, name: str) -> EndpointConfigRecord:
    """Give an account's configuration of exactly that name.

    Raises:
        NotFound: there is none.
    """
    record = endpoint_configs.find(house.db, account_id, region, name)
    if record is None:
        raise _missing(account_id, region, name)
    return record


def _missing(account_id: str, region: str, name: str) -> NotFound:
    return NotFound(f'Could not find endpoint configuration "{_arn(account_id, region, name)}".')


def _arn(account_id: str, region: str, name: str) -> str:
    return names.arn(region=region, account_id=account_id, kind="endpoint-config", name=name.lower())


def _admitted(house: House, principal: Principal, region: str, request: Mapping[str, Json]) -> list[dict[str, Json]]:
    """Give the variants as they are kept."""
    admitted, faults = variants.admit(request["ProductionVariants"])
    faults += [*faults_of(_REFUSALS, request, ""), *tags.faults_of(request.get("Tags", []))]
    roles_by_model, missing = variants.roles_of(house, principal.account_id, region, admitted)
    if "AsyncInferenceConfig" in request:
        output = request["AsyncInferenceConfig"]["OutputConfig"]
        faults += _async_faults(house, principal, output, roles_by_model)
    if missing and not faults:
        raise NotFound(" ".join(f"{told[:-1]} (in {where})." for where, told in missing.items()))
    faults += [Fault(where=where, problem=told.rstrip(".")) for where, told in missing.items()]
    if faults:
        raise InvalidRequest.of(faults)
    return admitted


def _async_faults(
    house: House, principal: Principal, output: Mapping[str, Json], roles_by_model: Mapping[str, str]
) -> Iterator[Fault]:
    """Give what is wrong with where answers of asynchronous calls go, for the roles of the variants' models.

    The caller chooses what is written by those roles, so he must be one who may pass them.
    """
    where = "AsyncInferenceConfig.OutputConfig."
    if "S3OutputPath" not in output:
        fix = "name where answers go, as s3://bucket/answers"
        yield Fault(where=f"{where}S3OutputPath", problem="is missing", fix=fix)
    seen = set()
    for model_name, role_arn in sorted(roles_by_model.items()):
        of_role = f"{where[:-1]}: the ExecutionRoleArn of model {model_name}"
        places, faults = open_places(house, principal, of_role, role_arn)
        yield from faults
        for member in ("S3OutputPath", "S3FailurePath"):
            for fault in uri_faults(places, f"{where}{member}", output[member], "write") if member in output else ():
                if str(fault) not in seen:  # the same is told of several roles
                    yield fault
                seen.add(str(fault))
