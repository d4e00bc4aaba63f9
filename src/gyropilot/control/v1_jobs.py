"""Jobs by the first version of the API, whose only problem type is tables: CreateAutoMLJob and DescribeAutoMLJob.

Such a job is stored as CreateAutoMLJobV2 would have made it, with the request as it came kept inside; all that runs,
lists and describes jobs knows only that form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gyropilot.control import admission, automl_jobs
from gyropilot.control.house import House
from gyropilot.errors import Fault, InvalidRequest, NotFound
from gyropilot.store.principals import Principal

Json = Any

_KEPT_AS = "CreateAutoMLJobRequest"
"""Member of the stored request that holds the one that came."""
_TABULAR = "AutoMLProblemTypeConfig.TabularJobConfig"
_UNCHANGED = ("AutoMLJobName", "OutputDataConfig", "RoleArn", "AutoMLJobObjective", "ModelDeployConfig", "Tags")
_V1_PATHS: tuple[tuple[str, str], ...] = (
    (f"{_TABULAR}.FeatureSpecificationS3Uri", "AutoMLJobConfig.CandidateGenerationConfig.FeatureSpecificationS3Uri"),
    (f"{_TABULAR}.CandidateGenerationConfig", "AutoMLJobConfig.CandidateGenerationConfig"),
    (f"{_TABULAR}.CompletionCriteria", "AutoMLJobConfig.CompletionCriteria"),
    (f"{_TABULAR}.GenerateCandidateDefinitionsOnly", "GenerateCandidateDefinitionsOnly"),
    (f"{_TABULAR}.Mode", "AutoMLJobConfig.Mode"),
    (f"{_TABULAR}.ProblemType", "ProblemType"),
    (f"{_TABULAR}.SampleWeightAttributeName", "InputDataConfig[0].SampleWeightAttributeName"),
    (f"{_TABULAR}.TargetAttributeName", "InputDataConfig[0].TargetAttributeName"),
    ("AutoMLJobInputDataConfig", "InputDataConfig"),
    ("DataSplitConfig", "AutoMLJobConfig.DataSplitConfig"),
    ("SecurityConfig", "AutoMLJobConfig.SecurityConfig"),
)
"""Where the second version has a field, and where the first has it; a path holds for all below it."""
_DESCRIBED_ALIKE = (
    "AutoMLJobName",
    "AutoMLJobArn",
    "OutputDataConfig",
    "RoleArn",
    "AutoMLJobObjective",
    "CreationTime",
    "EndTime",
    "LastModifiedTime",
    "FailureReason",
    "PartialFailureReasons",
    "BestCandidate",
    "AutoMLJobStatus",
    "AutoMLJobSecondaryStatus",
    "AutoMLJobArtifacts",
    "ModelDeployConfig",
    "ModelDeployResult",
)
_CHANNEL_DEFAULTS = {"ContentType": "text/csv;header=present", "ChannelType": "training"}
_SECURITY_DEFAULT = {"EnableInterContainerTrafficEncryption": False}


def create(
    house: House, principal: Principal, request: Mapping[str, Json], *, invocation_id: str | None, region: str
) -> str:
    """Store a job of a CreateAutoMLJob request and give its ARN.

    Raises:
        InvalidRequest: with every fault of the request, by the names of its own fields.
        AlreadyExists: the name, in whatever letter case, is taken.
        LimitExceeded: as many of the account's jobs as may be wait or run.
    """
    asked, unlike = v2_request(request), _unlike_channels(request["InputDataConfig"])
    try:
        if unlike:
            admission.admit(house, principal, asked, region=region)
            raise InvalidRequest.of(unlike)
        return automl_jobs.create(house, principal, asked, invocation_id=invocation_id, region=region)
    except InvalidRequest as error:
        faults = [of_v1(fault) for fault in error.faults if fault not in unlike]
        raise InvalidRequest.of([*faults, *unlike]) from error


def describe(house: House, principal: Principal, region: str, name: str) -> dict[str, Json]:
    """Give DescribeAutoMLJobResponse.

    Raises:
        NotFound: the caller has no such job, or CreateAutoMLJobV2 made it.
    """
    record = automl_jobs.find(house, principal, region, name)
    if _KEPT_AS not in record.request:
        raise NotFound(
            f"The AutoML job {record.name!r} was made by CreateAutoMLJobV2; DescribeAutoMLJobV2 describes it."
        )
    request: dict[str, Json] = record.request[_KEPT_AS]
    described = automl_jobs.describe(house, principal, region, name)
    config = dict(request.get("AutoMLJobConfig") or {})
    config["SecurityConfig"] = _SECURITY_DEFAULT | (config.get("SecurityConfig") or {})
    ours = {
        "InputDataConfig": [_CHANNEL_DEFAULTS | channel for channel in request["InputDataConfig"]],
        "AutoMLJobConfig": config,
        "GenerateCandidateDefinitionsOnly": bool(request.get("GenerateCandidateDefinitionsOnly")),
        "ResolvedAttributes": _resolved(described["ResolvedAttributes"]),
    }
    if "ProblemType" in request:
        ours["ProblemType"] = request["ProblemType"]
    return {member: described[member] for member in _DESCRIBED_ALIKE if member in described} | ours


def v2_request(request: Mapping[str, Json]) -> dict[str, Json]:
    """Give the CreateAutoMLJobV2 request that asks for the same, and keeps the one given inside."""
    config: Mapping[str, Json] = request.get("AutoMLJobConfig") or {}
    channels: Sequence[Mapping[str, Json]] = request["InputDataConfig"]
    candidates: Mapping[str, Json] = config.get("CandidateGenerationConfig") or {}
    algorithms = {name: candidates[name] for name in ("AlgorithmsConfig",) if name in candidates}
    tabular = {
        "TargetAttributeName": channels[0]["TargetAttributeName"],
        "SampleWeightAttributeName": channels[0].get("SampleWeightAttributeName"),
        "ProblemType": request.get("ProblemType"),
        "GenerateCandidateDefinitionsOnly": request.get("GenerateCandidateDefinitionsOnly"),
        "Mode": config.get("Mode"),
        "CompletionCriteria": config.get("CompletionCriteria"),
        "FeatureSpecificationS3Uri": candidates.get("FeatureSpecificationS3Uri"),
        "CandidateGenerationConfig": algorithms or None,
    }
    asked = {
        **{name: request.get(name) for name in _UNCHANGED},
        "AutoMLJobInputDataConfig": [_v2_channel(one) for one in channels],
        "AutoMLProblemTypeConfig": {"TabularJobConfig": _given(tabular)},
        "DataSplitConfig": config.get("DataSplitConfig"),
        "SecurityConfig": config.get("SecurityConfig"),
        _KEPT_AS: dict(request),
    }
    return _given(asked)


def named_in(request: Mapping[str, Json]) -> dict[str, Json]:
    """Give the part of `v2_request` that names objective and algorithms, of a request of any shape."""
    config = request.get("AutoMLJobConfig")
    within: Mapping[str, Json] = config if isinstance(config, dict) else {}
    tabular = {name: within.get(name) for name in ("Mode", "CandidateGenerationConfig")}
    tabular["ProblemType"] = request.get("ProblemType")
    return {
        "AutoMLProblemTypeConfig": {"TabularJobConfig": tabular},
        "AutoMLJobObjective": request.get("AutoMLJobObjective"),
    }


def _given(values: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in values.items() if value is not None}


def _v2_channel(channel: Mapping[str, Json]) -> dict[str, Json]:
    columns = ("TargetAttributeName", "SampleWeightAttributeName")
    return {name: value for name, value in channel.items() if name not in columns}


def _unlike_channels(channels: Sequence[Mapping[str, Json]]) -> list[Fault]:
    """Give a fault for each column that the two channels name differently: a job has one target, and one weight."""
    return [
        Fault(
            where=f"InputDataConfig[{number}].{member}",
            found=channel.get(member),
            problem=f"is not that of the first channel, {channels[0].get(member)!r}",
            fix="name the same column in both channels",
        )
        for number, channel in enumerate(channels[1:], start=1)
        for member in ("TargetAttributeName", "SampleWeightAttributeName")
        if channel.get(member) != channels[0].get(member)
    ]


def of_v1(fault: Fault) -> Fault:
    """Give a fault of the request that `v2_request` gave with the field as the first version names it."""
    for ours, theirs in _V1_PATHS:
        rest = fault.where.removeprefix(ours)
        if fault.where.startswith(ours) and rest[:1] in ("", ".", "["):
            return replace(fault, where=theirs + rest)
    return fault


def _resolved(attributes: Mapping[str, Json]) -> dict[str, Json]:
    """Give ResolvedAttributes as the first version has them."""
    of_type: Mapping[str, Json] = attributes.get("AutoMLProblemTypeResolvedAttributes", {}).get(
        "TabularResolvedAttributes", {}
    )
    alike = {name: attributes[name] for name in ("AutoMLJobObjective", "CompletionCriteria") if name in attributes}
    return alike | dict(of_type)
