"""The rules of AutoML jobs, callable without HTTP: create, describe, list, stop, and how far a job is."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from typing import Any

from gyropilot import names
from gyropilot.control import admission, descriptions, page_tokens
from gyropilot.control.house import House
from gyropilot.errors import NotFound
from gyropilot.problems.contract import Problem, Spec
from gyropilot.store import candidates, events, job_logs, jobs, progress
from gyropilot.store.candidates import CandidateQuery
from gyropilot.store.jobs import JobQuery, JobRecord, NewJob
from gyropilot.store.principals import Principal

Json = Any

JOBS_PER_PAGE = 100
CANDIDATES_PER_PAGE = 300
EVENTS_PER_PAGE = 200
LOG_BYTES_PER_PAGE = 256 * 1024


def create(
    house: House, principal: Principal, request: Mapping[str, Json], *, invocation_id: str | None, region: str
) -> str:
    """Store a job and give its ARN; when this returns the job survives any crash.

    Raises:
        InvalidRequest: with every fault of the request.
        AlreadyExists: the name, in whatever letter case, is taken.
        LimitExceeded: as many of the account's jobs as may be wait or run.
    """
    taken = jobs.find(house.db, principal.account_id, region, request["AutoMLJobName"])
    if taken is not None:
        key = principal.access_key_id
        return jobs.first_of_a_repeated_call(taken, invocation_id=invocation_id, principal=key, request=request).arn
    problem, spec = admission.admit(house, principal, request, region=region)
    job = NewJob(
        account_id=principal.account_id,
        region=region,
        name=request["AutoMLJobName"],
        arn=names.arn(
            region=region, account_id=principal.account_id, kind="automl-job", name=request["AutoMLJobName"].lower()
        ),
        problem=problem.config_name,
        request=dict(request),
        spec=spec.to_json(),
        resolved=_resolved(problem, spec),
        principal=principal.access_key_id,
        invocation_id=invocation_id,
    )
    tags = {tag["Key"]: tag["Value"] for tag in request.get("Tags", [])}
    return jobs.create(house.db, job, tags, most_open=house.settings.open_jobs_per_account).arn


def describe(house: House, principal: Principal, region: str, name: str) -> dict[str, Json]:
    """Give DescribeAutoMLJobV2Response.

    Raises:
        NotFound: the caller has no such job.
    """
    record = find(house, principal, region, name)
    best = candidates.find(house.db, record.id, record.best_candidate) if record.best_candidate else None
    return descriptions.job(record, best)


def list_jobs(house: House, principal: Principal, region: str, request: Mapping[str, Json]) -> dict[str, Json]:
    """Give ListAutoMLJobsResponse."""
    query = JobQuery(
        account_id=principal.account_id,
        region=region,
        created_after=request.get("CreationTimeAfter"),
        created_before=request.get("CreationTimeBefore"),
        modified_after=request.get("LastModifiedTimeAfter"),
        modified_before=request.get("LastModifiedTimeBefore"),
        name_contains=request.get("NameContains"),
        status=request.get("StatusEquals"),
        sort_by=request.get("SortBy", "Name"),
        sort_order=request.get("SortOrder", "Descending"),
        limit=request.get("MaxResults", JOBS_PER_PAGE),
        after=page_tokens.read(request, request.get("NextToken")),
    )
    page = jobs.page(house.db, query)
    listed = [descriptions.job_summary(one) for one in page.items]
    return {"AutoMLJobSummaries": listed} | page_tokens.next_token(request, page.next_cursor)


def list_candidates(house: House, principal: Principal, region: str, request: Mapping[str, Json]) -> dict[str, Json]:
    """Give ListCandidatesForAutoMLJobResponse.

    Raises:
        NotFound: the caller has no such job.
    """
    record = find(house, principal, region, request["AutoMLJobName"])
    query = CandidateQuery(
        job_id=record.id,
        status=request.get("StatusEquals"),
        name=request.get("CandidateNameEquals"),
        sort_by=request.get("SortBy", "CreationTime"),
        sort_order=request.get("SortOrder", "Ascending"),
        limit=request.get("MaxResults", CANDIDATES_PER_PAGE),
        after=page_tokens.read(request, request.get("NextToken")),
    )
    page = candidates.page(house.db, query)
    listed = [descriptions.candidate(one) for one in page.items]
    return {"Candidates": listed} | page_tokens.next_token(request, page.next_cursor)


def stop(house: House, principal: Principal, region: str, name: str) -> None:
    """Ask a job to end gracefully; a finished job stays as it is.

    Raises:
        NotFound: the caller has no such job.
    """
    if jobs.request_stop(house.db, principal.account_id, region, name) is None:
        raise _missing(name)


def job_progress(house: House, principal: Principal, region: str, name: str) -> dict[str, Json]:
    """Give DescribeJobProgressResponse: status, when work began, last progress, what it works by, its artifacts."""
    record = find(house, principal, region, name)
    started = {} if record.started_at is None else {"StartedAt": record.started_at}
    return started | {
        "AutoMLJobName": record.name,
        "Status": record.status,
        "SecondaryStatus": record.secondary_status,
        "Queued": record.status == "InProgress" and record.attempts == 0,
        "Progress": progress.get(house.db, record.id) or {},
        "Resolved": record.spec,
        "Artifacts": record.artifacts,
    }


def job_events(house: House, principal: Principal, region: str, request: Mapping[str, Json]) -> dict[str, Json]:
    """Give ListJobEventsResponse: events after a sequence number, oldest first."""
    record = find(house, principal, region, request["AutoMLJobName"])
    limit = request.get("MaxResults", EVENTS_PER_PAGE)
    found = events.after(house.db, record.id, request.get("AfterSequence", 0), limit)
    listed = [
        {"Sequence": one.sequence, "At": one.at, "Kind": one.kind, "Message": one.message, "Detail": one.detail}
        for one in found
    ]
    return {"Events": listed}


def job_log(house: House, principal: Principal, region: str, request: Mapping[str, Json]) -> dict[str, Json]:
    """Give GetJobLogResponse: log text from a byte offset, and the offset that follows it."""
    record = find(house, principal, region, request["AutoMLJobName"])
    offset = request.get("Offset", 0)
    start, data = job_logs.read(house.settings.logs / record.id, offset, LOG_BYTES_PER_PAGE)
    text, used = codecs.utf_8_decode(data, "replace", False)  # noqa: FBT003 -- a character cut at the end waits
    dropped = f"[{start - offset} bytes before this were dropped]\n" if start > offset else ""
    return {"Text": dropped + text, "NextOffset": start + used}


def find(house: House, principal: Principal, region: str, name: str) -> JobRecord:
    """Give the caller's job of this name.

    Raises:
        NotFound: the caller has no such job.
    """
    record = jobs.find(house.db, principal.account_id, region, name)
    if record is None:
        raise _missing(name)
    return record


def _missing(name: str) -> NotFound:
    return NotFound(f"There is no AutoML job named {name!r}; `gyropilot jobs list` shows what there is.")


def _resolved(problem: Problem, spec: Spec) -> dict[str, Json]:
    limits = spec.limits
    criteria = {
        "MaxCandidates": limits.max_candidates,
        "MaxRuntimePerTrainingJobInSeconds": limits.seconds_per_candidate,
        "MaxAutoMLJobRuntimeInSeconds": limits.seconds_per_job,
    }
    known = {name: value for name, value in criteria.items() if value is not None}
    return {"CompletionCriteria": known} | problem.resolved_attributes(spec)
