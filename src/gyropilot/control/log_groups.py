"""Log groups and streams as CloudWatch Logs names them, over the logs of an account's jobs, endpoints and transforms.

/aws/sagemaker/TrainingJobs        <training job>/algo-1-<when it began>       the log of the AutoML job it is a step of
/aws/sagemaker/ProcessingJobs      <processing job>/algo-1-<when it began>     the same
/aws/sagemaker/TransformJobs       <transform job>/algo-1-<when it was made>
/aws/sagemaker/Endpoints/<name>    <variant>/<number of the replica>

A group is there once there is a stream for it; an endpoint's as long as the endpoint is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeVar

from gyropilot.control.house import House
from gyropilot.errors import NotFound
from gyropilot.store import endpoints, steps, transform_jobs
from gyropilot.store.endpoints import EndpointRecord
from gyropilot.store.named_rows import NamedQuery
from gyropilot.store.steps import StepKind, StepQuery, StepSummary
from gyropilot.store.transform_jobs import TransformJobSummary

ENDPOINTS = "/aws/sagemaker/Endpoints/"
TRANSFORMS = "/aws/sagemaker/TransformJobs"
_KIND_BY_GROUP: Mapping[str, StepKind] = {
    "/aws/sagemaker/ProcessingJobs": "processing-job",
    "/aws/sagemaker/TrainingJobs": "training-job",
}
_ROWS_AT_ONCE = 500

_SortBy = Literal["Name", "CreationTime"]
Row = TypeVar("Row", StepSummary, TransformJobSummary)


@dataclass(frozen=True, kw_only=True)
class Stream:
    """One log."""

    name: str
    folder: Path
    created_at: datetime
    is_over: bool
    """Whether nothing will be written any more."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Logs of one kind."""

    name: str
    created_at: datetime


class LogGroups:
    """What one account sees in one region."""

    def __init__(self, house: House, account_id: str, region: str) -> None:
        self._db, self._logs = house.db, house.settings.logs
        self._account_id, self._region = account_id, region

    def groups(self) -> list[Group]:
        """Give every group, by name."""
        of_jobs = [_group(name, self._steps(kind, "", "CreationTime")) for name, kind in _KIND_BY_GROUP.items()]
        of_jobs.append(_group(TRANSFORMS, self._transforms("", "CreationTime")))
        found = [group for group in of_jobs if group is not None]
        for endpoint in endpoints.of_account(self._db, self._account_id, self._region):
            found.append(Group(name=f"{ENDPOINTS}{endpoint.name}", created_at=endpoint.created_at))
        return sorted(found, key=lambda group: group.name)

    def streams(self, group: str, prefix: str = "") -> list[Stream]:
        """Give the streams of a group whose names begin with `prefix`, by name.

        Raises:
            NotFound: there is no such group.
        """
        found = self._streams(group, prefix)
        if found is None or (not found and not self._exists(group)):
            raise NotFound("The specified log group does not exist.")
        return sorted(found, key=lambda stream: stream.name)

    def stream(self, group: str, name: str) -> Stream:
        """Give one stream.

        Raises:
            NotFound: there is no such group or stream.
        """
        found = next((one for one in self.streams(group, name) if one.name == name), None)
        if found is None:
            raise NotFound("The specified log stream does not exist.")
        return found

    def _exists(self, group: str) -> bool:
        if group in _KIND_BY_GROUP:
            return any(True for _ in self._steps(_KIND_BY_GROUP[group], ""))
        return group != TRANSFORMS or any(True for _ in self._transforms(""))

    def _streams(self, group: str, prefix: str) -> list[Stream] | None:
        owner = prefix.partition("/")[0]
        if group in _KIND_BY_GROUP:
            rows = self._steps(_KIND_BY_GROUP[group], owner)
            found = [_stream(one, self._logs / one.job_id, ended_at=one.job_ended_at) for one in rows]
        elif group == TRANSFORMS:
            jobs = self._transforms(owner)
            found = [_stream(one, self._logs / "transforms" / one.id, ended_at=one.ended_at) for one in jobs]
        elif group.startswith(ENDPOINTS):
            name = group.removeprefix(ENDPOINTS)
            endpoint = endpoints.find(self._db, self._account_id, self._region, name)
            if endpoint is None:
                return None
            found = self._streams_of(endpoint)
        else:
            return None
        return [one for one in found if one.name.startswith(prefix)]

    def _streams_of(self, endpoint: EndpointRecord) -> list[Stream]:
        folder = self._logs / "endpoints" / endpoint.id
        found = [one.name.rpartition(".") for one in folder.iterdir()] if folder.is_dir() else []
        return [
            Stream(
                name=f"{variant}/{number}",
                folder=folder / f"{variant}.{number}",
                created_at=endpoint.created_at,
                is_over=False,
            )
            for variant, _, number in found
            if variant
        ]

    def _steps(self, kind: StepKind, prefix: str, sort_by: _SortBy = "Name") -> Iterator[StepSummary]:
        """Give the steps whose names begin with `prefix`: by name, for which there is an index, or oldest first."""
        query = StepQuery(
            account_id=self._account_id,
            region=self._region,
            kind=kind,
            name_prefix=prefix or None,
            sort_by=sort_by,
            sort_order="Ascending",
            limit=_ROWS_AT_ONCE,
        )
        while True:
            page = steps.page(self._db, query)
            yield from page.items
            if page.next_cursor is None:
                return
            query = replace(query, after=page.next_cursor)

    def _transforms(self, part: str, sort_by: _SortBy = "Name") -> Iterator[TransformJobSummary]:
        """Give the transform jobs whose names hold `part`, by name or oldest first."""
        query = NamedQuery(
            account_id=self._account_id,
            region=self._region,
            name_contains=part or None,
            sort_by=sort_by,
            sort_order="Ascending",
            limit=_ROWS_AT_ONCE,
        )
        while True:
            page = transform_jobs.page(self._db, query)
            yield from page.items
            if page.next_cursor is None:
                return
            query = replace(query, after=page.next_cursor)


def _group(name: str, rows: Iterator[Row]) -> Group | None:
    first = next(rows, None)
    return None if first is None else Group(name=name, created_at=first.created_at)


def _stream(one: StepSummary | TransformJobSummary, folder: Path, *, ended_at: datetime | None) -> Stream:
    return Stream(
        name=f"{one.name}/algo-1-{int(one.created_at.timestamp())}",
        folder=folder,
        created_at=one.created_at,
        is_over=ended_at is not None,
    )
