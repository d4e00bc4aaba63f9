"""Turns what `train` returned into the stored candidate: wire-shaped body, score, steps and containers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal, get_args

from gyropilot import clock, names
from gyropilot.errors import TrainingFailed
from gyropilot.store.candidates import CandidateRecord
from gyropilot.store.jobs import JobRecord
from gyropilot.store.model_data import ModelDataRecord
from gyropilot.wire import types

Json = Any

_ON_THE_WIRE = ("Explainability", "ModelInsights", "BacktestResults")
_OBJECTIVE_NAMES = frozenset(get_args(types.AutoMLMetricEnum))
_REASONS_AT_MOST = 5
_STEP_NAME_LENGTH = 63


def in_progress(
    job: JobRecord, name: str, started_at: datetime, steps: Iterable[Mapping[str, str]] = ()
) -> CandidateRecord:
    """Give the record of a candidate that is being trained; `steps` are those before its own, as search tells them."""
    return CandidateRecord(
        job_id=job.id,
        name=name,
        status="InProgress",
        objective_status="Pending",
        score=None,
        direction="Minimize",
        body={"CandidateSteps": [*(_step(job, one["kind"], one["name"]) for one in steps), _own_step(job, name)]},
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
        body=_body(record, result, uri),
        modified_at=now,
        ended_at=now,
    )


def with_artifacts(record: CandidateRecord, artifacts: Mapping[str, str]) -> CandidateRecord:
    """Give the record of a trained candidate with further artifacts: where each lies, by name."""
    properties: dict[str, Json] = record.body.get("CandidateProperties", {})
    locations = {**properties.get("CandidateArtifactLocations", {}), **_on_the_wire(artifacts)}
    # Of the locations the service model asks for Explainability; a strict client takes none without it.
    if "Explainability" not in locations:
        return record
    return replace(
        record,
        body={**record.body, "CandidateProperties": {**properties, "CandidateArtifactLocations": locations}},
        modified_at=max(clock.now(), record.modified_at),
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


def partial_failure_reasons(records: Iterable[CandidateRecord], others: Iterable[str]) -> tuple[str, ...]:
    """Give what went wrong with a job that has a model: `others`, then why candidates failed; five reasons at most."""
    failed = (f"Candidate {one.name}: {one.failure_reason}" for one in records if one.status == "Failed")
    return tuple(one[:1024] for one in [*others, *failed][:_REASONS_AT_MOST])


def _body(record: CandidateRecord, result: Mapping[str, Json], uri: str) -> dict[str, Json]:
    containers = [_container(one, uri) for one in result["containers"]]
    locations = _on_the_wire({key: f"{uri}/{path}" for key, path in result["artifacts"].items()})
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
        "CandidateSteps": record.body["CandidateSteps"],
        "InferenceContainers": containers,
        "InferenceContainerDefinitions": {"CPU": containers, "GPU": containers},
        "CandidateProperties": properties,
    }


def _on_the_wire(artifacts: Mapping[str, str]) -> dict[str, str]:
    return {name: place for name, place in artifacts.items() if name in _ON_THE_WIRE}


def _own_step(job: JobRecord, name: str) -> Json:
    return _step(job, "TrainingJob", _step_name(job.name, name))


def _step(job: JobRecord, kind: str, name: str) -> Json:
    """Give a step; `kind` is TrainingJob, TransformJob or ProcessingJob."""
    word = f"{kind.removesuffix('Job').lower()}-job"
    arn = names.arn(region=job.region, account_id=job.account_id, kind=word, name=name.lower())
    return {"CandidateStepType": f"AWS::SageMaker::{kind}", "CandidateStepArn": arn, "CandidateStepName": name}


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
    # MetricName has members for what may be an objective only: LogLoss, Perplexity and their like have none.
    named = {"MetricName": metric["name"]} if metric["name"] in _OBJECTIVE_NAMES else {}
    return named | {"StandardMetricName": metric["name"], "Set": metric["split"], "Value": metric["value"]}
