"""Turns what `train` returned into the stored candidate: wire-shaped body, score, steps and containers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

from gyropilot import clock, names
from gyropilot.errors import TrainingFailed
from gyropilot.store.candidates import CandidateRecord
from gyropilot.store.jobs import JobRecord
from gyropilot.store.model_data import ModelDataRecord

Json = Any

_ON_THE_WIRE = ("Explainability", "ModelInsights", "BacktestResults")
_REASONS_AT_MOST = 5
_STEP_NAME_LENGTH = 63


def in_progress(job: JobRecord, name: str, started_at: datetime) -> CandidateRecord:
    """Give the record of a candidate that is being trained."""
    return CandidateRecord(
        job_id=job.id,
        name=name,
        status="InProgress",
        objective_status="Pending",
        score=None,
        direction="Minimize",
        body={"CandidateSteps": _steps(job, name)},
        created_at=started_at,
        modified_at=clock.now(),
        ended_at=None,
        failure_reason=None,
    )


def completed(record: CandidateRecord, job: JobRecord, result: Mapping[str, Json], uri: str) -> CandidateRecord:
    """Give the record of a trained candidate; `uri` is where its artifacts lie."""
    now = max(clock.now(), record.created_at)  # a clock may have been set back
    return replace(
        record,
        status="Completed",
        objective_status="Succeeded",
        score=result["score"],
        direction=result["direction"],
        body=_body(job, record.name, result, uri),
        modified_at=now,
        ended_at=now,
    )


def ended_without_model(record: CandidateRecord, status: Literal["Failed", "Stopped"], reason: str) -> CandidateRecord:
    """Give the record of a candidate that could not be trained, or was stopped before there was anything to keep."""
    now = max(clock.now(), record.created_at)  # a clock may have been set back
    return replace(
        record,
        status=status,
        objective_status="Failed",
        modified_at=now,
        ended_at=now,
        failure_reason=reason[:1024],
    )


def model_data(
    job: JobRecord, name: str, result: Mapping[str, Json], uri: str, digests: Mapping[str, Json]
) -> list[ModelDataRecord]:
    """Give the record of each container's file.

    Args:
        job: the job.
        name: the candidate's.
        result: what `train` returned.
        uri: where its artifacts lie.
        digests: sha256 and size of what was published, by name relative to `uri`.

    Raises:
        TrainingFailed: a container names a file that was not published.
    """
    missing = [one["model_path"] for one in result["containers"] if one["model_path"] not in digests]
    if missing:
        raise TrainingFailed(f"Candidate {name}: training did not leave the model files it names: {', '.join(missing)}")
    return [
        ModelDataRecord(
            account_id=job.account_id,
            uri=f"{uri}/{one['model_path']}",
            sha256=digests[one["model_path"]]["sha256"],
            size_bytes=digests[one["model_path"]]["size_bytes"],
            image=one["image"],
            problem=job.problem,
            shares=one.get("shares", ""),
            job_id=job.id,
            candidate=name,
        )
        for one in result["containers"]
    ]


def partial_failure_reasons(records: Iterable[CandidateRecord], not_deployed: str = "") -> tuple[str, ...]:
    """Give why the model of a job is not deployed, and why candidates of it failed; five reasons at most."""
    failed = [f"Candidate {one.name}: {one.failure_reason}" for one in records if one.status == "Failed"]
    told = [f"The model was not deployed: {not_deployed}", *failed] if not_deployed else failed
    return tuple(one[:1024] for one in told[:_REASONS_AT_MOST])


def _body(job: JobRecord, name: str, result: Mapping[str, Json], uri: str) -> dict[str, Json]:
    containers = [_container(one, uri) for one in result["containers"]]
    locations = {key: f"{uri}/{path}" for key, path in result["artifacts"].items() if key in _ON_THE_WIRE}
    properties: dict[str, Json] = {"CandidateMetrics": [_metric(one) for one in result["metrics"]]}
    if "Explainability" in locations:
        properties["CandidateArtifactLocations"] = locations
    return {
        "FinalAutoMLJobObjectiveMetric": {
            "Type": result["direction"],
            "MetricName": result["score_name"],
            "StandardMetricName": result["score_name"],
            "Value": result["score"],
        },
        "CandidateSteps": _steps(job, name),
        "InferenceContainers": containers,
        "InferenceContainerDefinitions": {"CPU": containers, "GPU": containers},
        "CandidateProperties": properties,
    }


def _steps(job: JobRecord, name: str) -> list[Json]:
    step_name = _step_name(job.name, name)
    arn = names.arn(region=job.region, account_id=job.account_id, kind="training-job", name=step_name.lower())
    step = {"CandidateStepType": "AWS::SageMaker::TrainingJob", "CandidateStepArn": arn, "CandidateStepName": step_name}
    return [step]


def _step_name(job_name: str, name: str) -> str:
    """Give the training job's name: the candidate's, led by the job's so that no other job has a step of that name."""
    led = name if name.lower().startswith(f"{job_name.lower()}-") else f"{job_name}-{name}"
    if len(led) <= _STEP_NAME_LENGTH:
        return led
    return f"{led[: _STEP_NAME_LENGTH - 9]}-{hashlib.sha256(led.encode()).hexdigest()[:8]}"


def _container(container: Mapping[str, Json], uri: str) -> dict[str, Json]:
    return {
        "Image": container["image"],
        "ModelDataUrl": f"{uri}/{container['model_path']}",
        "Environment": dict(container["environment"]),
    }


def _metric(metric: Mapping[str, Json]) -> dict[str, Json]:
    return {"StandardMetricName": metric["name"], "Set": metric["split"], "Value": metric["value"]}
