"""What a job is, outside the database: as it is created, as it is read, and what its worker may change of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from gyropilot.store.statuses import Status

Json = Any


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """A job to be created."""

    account_id: str
    region: str
    name: str
    arn: str
    problem: str
    """Its AutoMLProblemTypeConfigName, as TextGeneration."""
    request: Mapping[str, Json]
    """As it came."""
    spec: Mapping[str, Json]
    resolved: Mapping[str, Json]
    """ResolvedAttributes."""
    principal: str
    """Access key id of the caller."""
    invocation_id: str | None
    """The client's id of the call, the same when it tries again."""


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """A job as the store has it."""

    id: str
    account_id: str
    region: str
    name: str
    arn: str
    problem: str
    request: dict[str, Json]
    spec: dict[str, Json]
    resolved: dict[str, Json]
    principal: str
    invocation_id: str | None
    status: Status
    secondary_status: str
    created_at: datetime
    modified_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    failure_reason: str | None
    partial_failure_reasons: tuple[str, ...]
    stop_requested_at: datetime | None
    best_candidate: str | None
    """Its name."""
    artifacts: dict[str, Json]
    state: dict[str, Json]
    """The worker's own notes; what parts of the work gave is kept in store/outputs.py."""
    attempts: int
    """How often it was claimed."""
    lost_attempts: int
    """How often in a row its worker died, since it last got further."""


@dataclass(frozen=True, kw_only=True)
class JobSummary:
    """What a listing shows of a job; the long columns stay where they are."""

    id: str
    name: str
    arn: str
    status: Status
    secondary_status: str
    created_at: datetime
    modified_at: datetime
    ended_at: datetime | None
    failure_reason: str | None
    partial_failure_reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class JobChanges:
    """What a worker may write; None leaves a field as it is."""

    status: Status | None = None
    secondary_status: str | None = None
    """Left out at a move to another status than InProgress, it becomes that status."""
    failure_reason: str | None = None
    partial_failure_reasons: tuple[str, ...] | None = None
    best_candidate: str | None = None
    artifacts: Mapping[str, Json] | None = None
    state: Mapping[str, Json] | None = None
    resolved: Mapping[str, Json] | None = None
    started_at: datetime | None = None
    lost_attempts: int | None = None
    ended_at: datetime | None = None
    """Left out at a terminal move, it becomes the present moment."""


def read_record(row: Row[Any]) -> JobRecord:
    """Give a row of the jobs table as a record."""
    return JobRecord(**_values(row, JobRecord))


def read_summary(row: Row[Any]) -> JobSummary:
    """Give a row that has at least the columns of a summary as one."""
    return JobSummary(**_values(row, JobSummary))


def _values(row: Row[Any], kind: type[JobRecord] | type[JobSummary]) -> dict[str, Any]:
    columns = row._mapping
    values = {one.name: columns[one.name] for one in fields(kind)}
    values["partial_failure_reasons"] = tuple(values["partial_failure_reasons"])
    return values
