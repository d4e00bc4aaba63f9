"""What the worker writes about one job; every write is guarded by its lease and raises LeaseLost when that is gone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from gyropilot import clock
from gyropilot.store import candidates, events, jobs, progress
from gyropilot.store.candidates import CandidateQuery, CandidateRecord
from gyropilot.store.database import Database
from gyropilot.store.jobs import JobChanges, JobRecord
from gyropilot.store.leases import Lease
from gyropilot.worker import outcomes
from gyropilot.worker.patience import Patience

Json = Any

_PROGRESS_SECONDS = 1.0
_ALL_CANDIDATES = 1000


class JobBook:
    """The job's record as last written, and the ways to write it."""

    def __init__(self, db: Database, lease: Lease, job: JobRecord, patience: Patience) -> None:
        self.job = job
        self._db, self._lease, self._patience = db, lease, patience
        self._progress_at = -_PROGRESS_SECONDS

    def write(self, changes: JobChanges) -> None:
        """Write `changes` to the job's row."""

        def write() -> JobRecord:
            return jobs.update(self._db, self._lease, changes)

        def write_again() -> JobRecord:
            there = jobs.get(self._db, self.job.id)
            return there if there is not None and _has(there, changes) else write()

        self.job = self._patience.try_again(write, again=write_again)

    def note(self, key: str, value: Json) -> None:
        """Keep a value in the job's state, for this run and those after a crash."""
        self.write(JobChanges(state={**self.job.state, key: value}))

    def noted(self, key: str) -> Json:
        """Give a kept value; None where there is none."""
        return self.job.state.get(key)

    def enter(self, secondary_status: str) -> None:
        """Say which phase the job is in; a job that is being stopped stays Stopping."""
        self.write(JobChanges(secondary_status=secondary_status))

    def event(self, kind: str, message: str, detail: Mapping[str, Json] | None = None) -> None:
        """Append an event."""
        began_at = clock.now()

        def append() -> None:
            events.append(self._db, self._lease, kind, message, dict(detail or {}))

        def append_again() -> None:
            last = events.latest(self._db, self.job.id, kind)
            if last is None or last.at < began_at or last.message != message:
                append()

        self._patience.try_again(append, again=append_again)

    def progress(self, body: Mapping[str, Json]) -> None:
        """Store how far the job is, at most once a second."""
        if clock.monotonic() - self._progress_at >= _PROGRESS_SECONDS:
            self._progress_at = clock.monotonic()
            now = clock.now().isoformat()
            self._patience.try_again(lambda: progress.put(self._db, self._lease, {**body, "at": now}))

    def candidate(self, name: str) -> CandidateRecord | None:
        """Give a candidate's record."""
        return self._patience.try_again(lambda: candidates.find(self._db, self.job.id, name))

    def candidates(self) -> list[CandidateRecord]:
        """Give all candidates' records."""
        query = CandidateQuery(
            job_id=self.job.id, sort_by="CreationTime", sort_order="Ascending", limit=_ALL_CANDIDATES
        )
        return list(self._patience.try_again(lambda: candidates.page(self._db, query)).items)

    def put_candidate(self, record: CandidateRecord) -> None:
        """Write a candidate's record."""
        self._patience.try_again(lambda: candidates.put(self._db, self._lease, record))

    def close_candidates(self, status: Literal["Failed", "Stopped"], reason: str) -> None:
        """End the candidates that are still in progress."""
        for record in self.candidates():
            if record.status == "InProgress":
                self.put_candidate(outcomes.ended_without_model(record, status, reason))


def _has(job: JobRecord, changes: JobChanges) -> bool:
    """Say whether the job is as `changes` would make it."""
    wanted = {name: value for name, value in vars(changes).items() if value is not None}
    return all(getattr(job, name) == value for name, value in wanted.items())
