"""Wire-shaped descriptions of jobs and candidates, made from stored records by an allow-list of fields."""

from __future__ import annotations

from typing import Any

from gyropilot.control import deployments
from gyropilot.store.candidates import CandidateRecord
from gyropilot.store.job_records import JobRecord, JobSummary

Json = Any

_ECHOED = (
    "AutoMLJobInputDataConfig",
    "OutputDataConfig",
    "RoleArn",
    "AutoMLJobObjective",
    "AutoMLProblemTypeConfig",
    "ModelDeployConfig",
    "DataSplitConfig",
    "SecurityConfig",
    "AutoMLComputeConfig",
)
_NOTEBOOKS = {
    "CandidateDefinition": "CandidateDefinitionNotebookLocation",
    "DataExploration": "DataExplorationNotebookLocation",
}
"""Members of AutoMLJobArtifacts by what profile calls them."""


def job(record: JobRecord, best: CandidateRecord | None) -> dict[str, Json]:
    """Give DescribeAutoMLJobV2Response; the request's fields stand as they came."""
    echoed = {name: record.request[name] for name in _ECHOED if name in record.request}
    described = echoed | _summary_fields(record)
    described["AutoMLProblemTypeConfigName"] = record.problem
    described["ResolvedAttributes"] = record.resolved
    if best is not None:
        described["BestCandidate"] = candidate(best)
    notebooks = {wire: record.artifacts[name] for name, wire in _NOTEBOOKS.items() if name in record.artifacts}
    if notebooks:
        described["AutoMLJobArtifacts"] = notebooks
    deployment = deployments.read(record.state.get("deployment"))
    if deployment is not None and (deployment.is_in_service or deployment.has_failed):
        # The name is left out where the deployment failed.
        named = {"EndpointName": deployment.endpoint_name} if deployment.is_in_service else {}
        described["ModelDeployResult"] = named
    return described


def job_summary(record: JobSummary) -> dict[str, Json]:
    """Give AutoMLJobSummary."""
    return _summary_fields(record)


def candidate(record: CandidateRecord) -> dict[str, Json]:
    """Give AutoMLCandidate."""
    times = {"CreationTime": record.created_at, "LastModifiedTime": record.modified_at, "EndTime": record.ended_at}
    described = {
        **record.body,
        **times,
        "CandidateName": record.name,
        "CandidateStatus": record.status,
        "ObjectiveStatus": record.objective_status,
        "FailureReason": record.failure_reason,
    }
    return {name: value for name, value in described.items() if value is not None}


def _summary_fields(record: JobRecord | JobSummary) -> dict[str, Json]:
    partial = [{"PartialFailureMessage": reason} for reason in record.partial_failure_reasons]
    fields = {
        "AutoMLJobName": record.name,
        "AutoMLJobArn": record.arn,
        "AutoMLJobStatus": record.status,
        "AutoMLJobSecondaryStatus": record.secondary_status,
        "CreationTime": record.created_at,
        "EndTime": record.ended_at,
        "LastModifiedTime": record.modified_at,
        "FailureReason": record.failure_reason[:1024] if record.failure_reason else None,
        "PartialFailureReasons": partial or None,
    }
    return {name: value for name, value in fields.items() if value is not None}
