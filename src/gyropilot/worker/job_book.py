"""What the worker writes about one job; every write is guarded by its lease and raises LeaseLost when that is gone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from gyropilot import clock
from gyropilot.errors import LeaseLost
from gyropilot.log import printable
from gyropilot.store import candidates, events, jobs, leases, model_data, progress
from gyropilot.store.candidates import CandidateQuery, CandidateRecord
from gyropilot.store.database import Database
from gyropilot.store.job_logs import JobLog
from gyropilot.store.jobs import JobChanges, JobRecord
from gyropilot.store.leases import Lease
from gyropilot.store.model_data import ModelDataRecord
from gyropilot.worker import outcomes
from gyropilot.worker.patience import Patience
from gyropilot.worker.time_used import JOB, TimeUsed

Json = Any

_PROGRESS_SECONDS = 1.0
_HEARTBEAT_SECONDS = 2.0
"""How often the time used is noted while no progress is told: what a kill makes the job forget of it."""
_ALL_CANDIDATES = 1000


class JobBook:
    """The job's record as last written, and the ways to write it."""

    def __init__(self, db: Database, lease: Lease, job: JobRecord, patience: Patience, log: JobLog) -> None:
        self.job = job
        self._db, self._lease, self._patience, self._log = db, lease, patience, log
        self._progress_at = -_HEARTBEAT_SECONDS
        last = patience.try_again(lambda: progress.get(db, job.id))
        self._told: Mapping[str, Json] = last or {}
        self.used = TimeUsed(self._told.get("used_seconds", {}))
        self.used.begin(JOB)

    def write(self, changes: JobChanges) -> None:
        """Write `changes` to the job's row."""

        def write() -> JobRecord:
            return jobs.update(self._db, self._lease, changes)

        def write_again() -> JobRecord:
            there = jobs.get(self._db, self.job.id)
            return there if there is not None and _has(there, changes) else write()

        self.job = self._patience.try_again(write, again=write_again)
        if changes.status is not None:
            self._log_line(
                f"status {changes.status}{': ' if changes.failure_reason else ''}{changes.failure_reason or ''}"
            )

    def note(self, key: str, value: Json) -> None:
        """Keep a value in the job's state, for this run and those after a crash."""
        self.write(JobChanges(state={**self.job.state, key: value}))

    def noted(self, key: str) -> Json:
        """Give a kept value; None where there is none."""
        return self.job.state.get(key)

    def enter(self, secondary_status: str) -> None:
        """Say which phase the job is in; a job that is being stopped stays Stopping."""
        self.write(JobChanges(secondary_status=secondary_status))
        self._log_line(f"phase {secondary_status}")
        self._told = {}  # what the phase before said last is not true of this one
        self._put_progress()
        self._progress_at = -_PROGRESS_SECONDS
        self.got_further(secondary_status, 0)

    def got_further(self, place: str, amount: float) -> None:
        """Say that a phase, a candidate or its checkpoints got to `amount`.

        Where that is further than any attempt got, the job's lost attempts and troubles count from nothing again.
        """
        reached = self.noted("reached") or {}
        if amount > reached.get(place, -1):
            state = {**self.job.state, "reached": {**reached, place: amount}, "troubles": 0}
            self.write(JobChanges(state=state, lost_attempts=0 if self.job.lost_attempts else None))

    def event(self, kind: str, message: str, detail: Mapping[str, Json] | None = None) -> None:
        """Append an event; the job's log has it too."""
        self._log_line(f"{kind}: {message}")
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
            self._told = {**body, "at": clock.now().isoformat()}
            self._put_progress()

    def heartbeat(self) -> None:
        """Note the time used, where no progress does so."""
        if clock.monotonic() - self._progress_at >= _HEARTBEAT_SECONDS:
            self._put_progress()

    def place(self) -> str:
        """Give in words how far the job was when it was last heard of."""
        told = self._told
        if not told.get("unit"):
            return f"phase {self.job.secondary_status}"
        return f"phase {told['phase']}, {told['done']:.0f} of {told['total']:.0f} {told['unit']}"

    def check_lease(self) -> None:
        """Let the owner pass.

        Raises:
            LeaseLost: the job is another's by now.
        """
        if not self._patience.try_again(lambda: leases.is_held(self._db, self._lease)):
            raise LeaseLost(f"job {self.job.id} is no longer owned by this worker (epoch {self._lease.epoch})")

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

    def put_model_data(self, records: Iterable[ModelDataRecord]) -> None:
        """Record what was published and may be served."""
        given = list(records)
        self._patience.try_again(lambda: model_data.put(self._db, self._lease, given))

    def withdraw_model_data(self) -> None:
        """Let nothing that the job published be served."""
        self._patience.try_again(lambda: model_data.withdraw(self._db, self._lease))

    def close_candidates(self, status: Literal["Failed", "Stopped"], reason: str) -> None:
        """End the candidates that are still in progress."""
        for record in self.candidates():
            if record.status == "InProgress":
                self.put_candidate(outcomes.ended_without_model(record, status, reason))

    def _put_progress(self) -> None:
        self._progress_at = clock.monotonic()
        body = {**self._told, "used_seconds": self.used.to_json()}
        self._patience.try_again(lambda: progress.put(self._db, self._lease, body))

    def _log_line(self, text: str) -> None:
        line = printable(text).replace("\n", "\\n")
        self._log.write(f"{clock.now():%Y-%m-%dT%H:%M:%SZ} gyropilot: {line}\n".encode())


def _has(job: JobRecord, changes: JobChanges) -> bool:
    """Say whether the job is as `changes` would make it."""
    wanted = {name: value for name, value in vars(changes).items() if value is not None}
    return all(getattr(job, name) == value for name, value in wanted.items())
