"""The variants of an endpoint: which model, in how many replicas, by what weight; read, and bound to their models.

admit(ProductionVariants)  --> [{name, model_name, weight, instances, instance_type, startup_seconds, download_seconds}]
bound(...)                 --> the same with `model`, a snapshot, in the place of `model_name`
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gyropilot.control import models
from gyropilot.control.house import House
from gyropilot.control.refusals import Refusal, faults_of
from gyropilot.errors import Fault, NotFound
from gyropilot.names import folded

Json = Any

MOST_INSTANCES = 16
"""Replicas of one variant: each is a process of this machine."""
STARTUP_SECONDS = 600
DOWNLOAD_SECONDS = 3600
LARGEST_WEIGHT = 1e6

_REFUSALS = (
    Refusal(path="InstancePools", problem="there are no pools of instances here; replicas run on this machine"),
    Refusal(path="VariantInstanceProvisionTimeoutInSeconds", problem="no instances are provisioned here"),
    Refusal(path="AcceleratorType", problem="there are no Elastic Inference accelerators here"),
    Refusal(path="CoreDumpConfig", problem="replicas leave no core dumps"),
    Refusal(
        path="ServerlessConfig",
        problem="replicas run as long as their endpoint",
        fix="give InitialInstanceCount instead",
    ),
    Refusal(path="VolumeSizeInGB", problem="replicas use this machine's disk, in no volume"),
    Refusal(path="EnableSSMAccess", problem="nobody is let into a replica", harmless=(False,)),
    Refusal(
        path="ManagedInstanceScaling",
        problem="the number of replicas changes only when you change it",
        fix="leave it out, and call UpdateEndpointWeightsAndCapacities when more or fewer are needed",
    ),
    Refusal(
        path="RoutingConfig.RoutingStrategy",
        problem="a call goes to the replica with the fewest running calls",
        harmless=("LEAST_OUTSTANDING_REQUESTS",),
    ),
    Refusal(path="InferenceAmiVersion", problem="replicas run in no machine image"),
    Refusal(path="CapacityReservationConfig", problem="there is no capacity to reserve on this machine"),
)


def admit(given: Sequence[Mapping[str, Json]]) -> tuple[list[dict[str, Json]], list[Fault]]:
    """Give ProductionVariants as they are kept with their configuration, and what is wrong with them."""
    faults: list[Fault] = []
    for number, variant in enumerate(given):
        where = f"ProductionVariants[{number}]."
        faults += faults_of(_REFUSALS, variant, where)
        faults += _faults_of_one(where, variant)
    admitted = [_read(variant) for variant in given]
    faults += _faults_of_names("ProductionVariants", [one["name"] for one in admitted])
    faults += faults_of_weights("ProductionVariants", [one["weight"] for one in admitted])
    return admitted, faults


def roles_of(
    house: House, account_id: str, region: str, admitted: Sequence[Mapping[str, Json]]
) -> tuple[dict[str, str], dict[str, str]]:
    """Give the ARN of the role by the name of each variant's model, and what is to say of models that are not there.

    The latter by the member that names such a model, as ProductionVariants[0].ModelName.
    """
    roles_by_model: dict[str, str] = {}
    missing: dict[str, str] = {}
    for number, one in enumerate(admitted):
        name = one["model_name"]
        if not name or name in roles_by_model:
            continue
        try:
            found = models.find(house, account_id, region, name)
        except NotFound as error:
            missing[f"ProductionVariants[{number}].ModelName"] = str(error)
        else:
            roles_by_model[name] = found.request["ExecutionRoleArn"]
    return roles_by_model, missing


def bound(house: House, account_id: str, region: str, admitted: Sequence[Mapping[str, Json]]) -> list[dict[str, Json]]:
    """Give variants with their models as they are at this moment, for an endpoint.

    Raises:
        NotFound: a model is not there.
    """
    return [
        {key: value for key, value in one.items() if key != "model_name"}
        | {"model": models.snapshot(house, account_id, region, one["model_name"])}
        for one in admitted
    ]


def fault_of_instances(where: str, count: int) -> Iterator[Fault]:
    """Give the fault of a number of replicas that cannot be."""
    if not 1 <= count <= MOST_INSTANCES:
        problem = f"a variant has 1 to {MOST_INSTANCES} replicas, which are processes of this machine"
        yield Fault(where=where, found=count, problem=problem, fix="choose a number between these")


def faults_of_weights(where: str, weights: Sequence[float]) -> Iterator[Fault]:
    """Give the faults of the weights of all variants."""
    if any(not 0 <= weight <= LARGEST_WEIGHT or math.isnan(weight) for weight in weights):
        problem = f"weights lie between 0 and {LARGEST_WEIGHT:.0f}; only what they are to each other counts"
        yield Fault(where=where, found=max(weights), problem=problem, fix="divide them all by the same number")
    elif sum(weights) == 0:
        problem = "the weights of all variants are 0, so no call would go to any"
        yield Fault(where=where, found=0, problem=problem, fix="give one of them a weight above 0")


def _faults_of_one(where: str, variant: Mapping[str, Json]) -> Iterator[Fault]:
    if "ModelName" not in variant:
        fix = "name a model; there are no inference components here"
        yield Fault(where=f"{where}ModelName", problem="is missing", fix=fix)
    if "InitialInstanceCount" not in variant:
        fix = "say how many replicas answer for it, as 1"
        yield Fault(where=f"{where}InitialInstanceCount", problem="is missing", fix=fix)
    else:
        yield from fault_of_instances(f"{where}InitialInstanceCount", variant["InitialInstanceCount"])


def _faults_of_names(where: str, names: Sequence[str]) -> Iterator[Fault]:
    first: dict[str, int] = {}
    for number, name in enumerate(names):
        before = first.setdefault(folded(name), number)
        if before != number:
            problem = f"{where}[{before}] has this name already (letter case does not count)"
            yield Fault(where=f"{where}[{number}].VariantName", found=name, problem=problem, fix="choose another name")


def _read(variant: Mapping[str, Json]) -> dict[str, Json]:
    return {
        "name": variant["VariantName"],
        "model_name": variant.get("ModelName", ""),
        "weight": float(variant.get("InitialVariantWeight", 1.0)),
        "instances": variant.get("InitialInstanceCount", 1),
        "instance_type": variant.get("InstanceType", ""),
        "startup_seconds": variant.get("ContainerStartupHealthCheckTimeoutInSeconds", STARTUP_SECONDS),
        "download_seconds": variant.get("ModelDataDownloadTimeoutInSeconds", DOWNLOAD_SECONDS),
    }
