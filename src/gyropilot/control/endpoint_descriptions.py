"""Wire-shaped descriptions of endpoints, made from stored records by an allow-list of fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from gyropilot.store.endpoints import EndpointRecord, EndpointSummary
from gyropilot.store.replicas import ReplicaRecord

Json = Any


def endpoint(record: EndpointRecord, replicas: Sequence[ReplicaRecord]) -> dict[str, Json]:
    """Give DescribeEndpointOutput: what is served, or before that what is to be; and what an update waits for."""
    shown = record.serving or record.wanted
    is_updating = record.status == "Updating" and record.serving is not None
    desired = record.wanted if is_updating else shown
    # While it is updated, what is served has the replicas of the generations before.
    serving = [one for one in replicas if not is_updating or one.generation < record.generation]
    described = summary(record) | {
        "EndpointConfigName": shown["config_name"],
        "ProductionVariants": [
            _variant(record, one, _of_name(desired, one["name"]), serving, shown.get("resolved_at"))
            for one in shown["variants"]
        ],
        "FailureReason": record.failure_reason[:1024] if record.failure_reason else None,
        "AsyncInferenceConfig": shown.get("async"),
        "LastDeploymentConfig": shown.get("deployment"),
    }
    if is_updating and record.wanted["config_name"] != shown["config_name"]:
        described["PendingDeploymentSummary"] = _pending(record, replicas)
    return {name: value for name, value in described.items() if value is not None}


def summary(record: EndpointRecord | EndpointSummary) -> dict[str, Json]:
    """Give EndpointSummary."""
    return {
        "EndpointName": record.name,
        "EndpointArn": record.arn,
        "EndpointStatus": record.status,
        "CreationTime": record.created_at,
        "LastModifiedTime": record.modified_at,
    }


def _variant(
    record: EndpointRecord,
    variant: Mapping[str, Json],
    desired: Mapping[str, Json] | None,
    replicas: Sequence[ReplicaRecord],
    resolved_at: str | None,
) -> dict[str, Json]:
    described = {
        "VariantName": variant["name"],
        "DeployedImages": _images(variant, resolved_at),
        "CurrentWeight": variant["weight"] if record.serving is not None else 0.0,
        "CurrentInstanceCount": _ready(variant, replicas),
    }
    if desired is not None:  # an update leaves the variant out
        described |= {"DesiredWeight": desired["weight"], "DesiredInstanceCount": desired["instances"]}
    if record.status in ("Creating", "Updating", "Deleting"):
        described["VariantStatus"] = [{"Status": record.status, "StartTime": record.modified_at}]
    return described


def _pending(record: EndpointRecord, replicas: Sequence[ReplicaRecord]) -> dict[str, Json]:
    started = [one for one in replicas if one.generation == record.generation]
    pending = [
        {
            "VariantName": one["name"],
            "DeployedImages": _images(one, record.wanted.get("resolved_at")),
            "CurrentWeight": 0.0,
            "DesiredWeight": one["weight"],
            "CurrentInstanceCount": _ready(one, started),
            "DesiredInstanceCount": one["instances"],
            **({"InstanceType": one["instance_type"]} if one["instance_type"] else {}),
            "VariantStatus": [{"Status": "Creating", "StartTime": record.modified_at}],
        }
        for one in record.wanted["variants"]
    ]
    return {
        "EndpointConfigName": record.wanted["config_name"],
        "ProductionVariants": pending,
        "StartTime": record.modified_at,
    }


def _images(variant: Mapping[str, Json], resolved_at: str | None) -> list[dict[str, Json]]:
    moment = {"ResolutionTime": datetime.fromisoformat(resolved_at)} if resolved_at else {}
    images = [one["image"] for one in variant["model"]["containers"]]
    return [{"SpecifiedImage": image, "ResolvedImage": image} | moment for image in images]


def _ready(variant: Mapping[str, Json], replicas: Sequence[ReplicaRecord]) -> int:
    return sum(one.status == "Ready" and one.variant == variant["name"] for one in replicas)


def _of_name(wanted: Mapping[str, Json], name: str) -> Mapping[str, Json] | None:
    return next((one for one in wanted["variants"] if one["name"] == name), None)
