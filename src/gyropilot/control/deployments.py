"""ModelDeployConfig: what a job's request may ask for, and the model, configuration and endpoint that come of it.

What is made acts for the key and the role that the job was created with, and bears the tags of its create request;
model and configuration also bear the endpoint's name in MADE_FOR_TAG, by which who deletes the endpoint knows them.
Every step may be repeated: the same call gives what the first one made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from gyropilot.control import endpoint_configs, endpoints, models
from gyropilot.control.house import House
from gyropilot.control.repeated_calls import mark_of
from gyropilot.errors import AlreadyExists, Fault, NotAllowed
from gyropilot.store import endpoint_configs as stored_configs
from gyropilot.store import endpoints as stored
from gyropilot.store import models as stored_models
from gyropilot.store.candidates import CandidateRecord
from gyropilot.store.endpoints import EndpointRecord
from gyropilot.store.job_records import JobRecord
from gyropilot.store.principals import Principal

Json = Any
Create = Callable[..., str]

VARIANT = "AllTraffic"
MADE_FOR_TAG = "gyropilot:made-for"
"""The tag by which `sdk/endpoints.py` deletes with an endpoint what was made for it, and nothing else."""
STARTUP_SECONDS = 3600
"""What Amazon's guide gives a fine-tuned model, to be fetched and again to be started."""

_CONFIG = "ModelDeployConfig"
_LONGEST_NAME = 63


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """The names under which a job's best candidate is deployed; noted before anything is made."""

    model_name: str
    config_name: str
    endpoint_name: str
    endpoint_id: str = ""
    """Known once the endpoint is made."""
    is_in_service: bool = False
    has_failed: bool = False

    def to_json(self) -> dict[str, Json]:
        """Give the deployment as JSON values."""
        return asdict(self)


def is_wanted(request: Mapping[str, Json]) -> bool:
    """Say whether a job's request asks for a deployment."""
    return _CONFIG in request


def faults_of(house: House, principal: Principal, region: str, request: Mapping[str, Json]) -> Iterator[Fault]:
    """Give what is wrong with a create request's ModelDeployConfig."""
    if not is_wanted(request):
        return
    config = request[_CONFIG]
    is_automatic, name = bool(config.get("AutoGenerateEndpointName")), config.get("EndpointName")
    if is_automatic and name is not None:
        yield Fault(
            where=f"{_CONFIG}.AutoGenerateEndpointName, {_CONFIG}.EndpointName",
            found=name,
            problem="both say how the endpoint is named: it is generated, or it is the one given",
            fix="leave out the one or the other",
        )
    elif not is_automatic and name is None:
        yield Fault(
            where=f"{_CONFIG}.EndpointName",
            problem="is missing, and no name is to be generated",
            fix="name the endpoint, set AutoGenerateEndpointName to true, or leave ModelDeployConfig out",
        )
    elif name is not None and stored.find_arn(house.db, principal.account_id, region, name) is not None:
        yield Fault(
            where=f"{_CONFIG}.EndpointName",
            found=name,
            problem="an endpoint of this account has this name (letter case does not count)",
            fix="choose another name, or delete that endpoint first",
        )


def planned(job: JobRecord, candidate: CandidateRecord) -> Deployment:
    """Give the names for a job's candidate: its own for the model, and the one asked for, or a generated one."""
    endpoint_name = job.request[_CONFIG].get("EndpointName") or f"{job.name}-{_mark(job)}"
    return Deployment(model_name=candidate.name, config_name=endpoint_name, endpoint_name=endpoint_name)


def read(values: Mapping[str, Json] | None) -> Deployment | None:
    """Read back what `Deployment.to_json` gave."""
    return None if values is None else Deployment(**values)


def make_model(house: House, job: JobRecord, candidate: CandidateRecord, deployment: Deployment) -> Deployment:
    """Make the model of a candidate, under another name where that is taken.

    Raises:
        InvalidRequest: its data may not be read by the job's role any more.
        NotAllowed: the job's key was withdrawn.
    """
    containers = candidate.body["InferenceContainers"]
    of_one = {"PrimaryContainer": containers[0]} if len(containers) == 1 else {"Containers": containers}

    def request(name: str) -> dict[str, Json]:
        return {"ModelName": name, "ExecutionRoleArn": job.request["RoleArn"], **of_one, **_part_tags(job, deployment)}

    name = _made_under(house, job, models.create, request, deployment.model_name)
    return replace(deployment, model_name=name)


def make_config(house: House, job: JobRecord, deployment: Deployment) -> Deployment:
    """Make the endpoint's configuration, under another name where that is taken.

    Raises:
        NotFound: the model was deleted meanwhile.
        NotAllowed: the job's key was withdrawn.
    """
    variant = {
        "VariantName": VARIANT,
        "ModelName": deployment.model_name,
        "InitialInstanceCount": 1,
        "ModelDataDownloadTimeoutInSeconds": STARTUP_SECONDS,
        "ContainerStartupHealthCheckTimeoutInSeconds": STARTUP_SECONDS,
    }

    def request(name: str) -> dict[str, Json]:
        return {"EndpointConfigName": name, "ProductionVariants": [variant], **_part_tags(job, deployment)}

    name = _made_under(house, job, endpoint_configs.create, request, deployment.config_name)
    return replace(deployment, config_name=name)


def make_endpoint(house: House, job: JobRecord, deployment: Deployment) -> Deployment:
    """Make the endpoint, which is Creating then.

    Raises:
        AlreadyExists: another endpoint has the name by now.
        LimitExceeded: the account has as many endpoints as may be.
        NotFound: model or configuration were deleted meanwhile.
        NotAllowed: the job's key was withdrawn.
    """
    principal = _principal(house, job)
    request = _endpoint_request(job, deployment)
    endpoints.create(house, principal, request, region=job.region, invocation_id=_call(job))
    made = endpoints.find(house, job.account_id, job.region, deployment.endpoint_name)
    return replace(deployment, endpoint_id=made.id)


def endpoint_of(house: House, deployment: Deployment) -> EndpointRecord | None:
    """Give the endpoint as it is; None where it was not made, or is no more."""
    return stored.get(house.db, deployment.endpoint_id) if deployment.endpoint_id else None


def take_away(house: House, job: JobRecord, deployment: Deployment) -> None:
    """Remove endpoint, configuration and model as far as the job made them; what is gone already is no error.

    The job may have been killed before it noted what it made, or before it made what bears a planned name: what
    another call made under that name stays.
    """
    if deployment.endpoint_id:
        stored.request_delete(house.db, deployment.endpoint_id)
    elif there := stored.find(house.db, job.account_id, job.region, deployment.endpoint_name):
        call = mark_of(_stand_in(job), _call(job), _endpoint_request(job, deployment))
        stored.request_delete(house.db, there.id, made_by=call)
    for name in (deployment.config_name, _other_name(job, deployment.config_name)):
        config = stored_configs.find(house.db, job.account_id, job.region, name)
        if config is not None:
            call = mark_of(_stand_in(job), _call(job), config.request)
            stored_configs.remove(house.db, job.account_id, job.region, name, made_by=call)
    for name in (deployment.model_name, _other_name(job, deployment.model_name)):
        model = stored_models.find(house.db, job.account_id, job.region, name)
        if model is not None:
            call = mark_of(_stand_in(job), _call(job), model.request)
            stored_models.remove(house.db, job.account_id, job.region, name, made_by=call)


def _endpoint_request(job: JobRecord, deployment: Deployment) -> dict[str, Json]:
    named = {"EndpointName": deployment.endpoint_name, "EndpointConfigName": deployment.config_name}
    return named | _tags(job)


def _made_under(
    house: House, job: JobRecord, create: Create, request: Callable[[str], dict[str, Json]], name: str
) -> str:
    principal = _principal(house, job)
    try:
        create(house, principal, request(name), region=job.region, invocation_id=_call(job))
    except AlreadyExists:
        name = _other_name(job, name)
        create(house, principal, request(name), region=job.region, invocation_id=_call(job))
    return name


def _other_name(job: JobRecord, name: str) -> str:
    """Give the name that is taken where another call has made something under `name`."""
    return f"{name[: _LONGEST_NAME - 9].rstrip('-')}-{_mark(job)}"


def _principal(house: House, job: JobRecord) -> Principal:
    found = house.credentials.find(job.principal)
    if found is None:
        raise NotAllowed(f"The access key {job.principal}, which created the job, was withdrawn meanwhile.")
    return found[0]


def _stand_in(job: JobRecord) -> Principal:
    """Give who made what the job made, also where the key was withdrawn meanwhile."""
    return Principal(access_key_id=job.principal, account_id=job.account_id, kind="operator", name="")


def _tags(job: JobRecord) -> dict[str, Json]:
    return {"Tags": job.request["Tags"]} if job.request.get("Tags") else {}


def _part_tags(job: JobRecord, deployment: Deployment) -> dict[str, Json]:
    """Give the tags of what is made for the endpoint and may go with it."""
    given = [tag for tag in job.request.get("Tags", ()) if tag["Key"] != MADE_FOR_TAG]
    return {"Tags": [*given, {"Key": MADE_FOR_TAG, "Value": deployment.endpoint_name}]}


def _call(job: JobRecord) -> str:
    return f"deployment-of-{job.id}"


def _mark(job: JobRecord) -> str:
    return hashlib.sha256(job.id.encode()).hexdigest()[:8]
