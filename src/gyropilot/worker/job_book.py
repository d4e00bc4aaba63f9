"""What the worker writes about one job; every write is guarded by its lease and raises LeaseLost when that is gone.

The threads of a job's candidates share it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from gyropilot import clock
from gyropilot.errors import LeaseLost
from gyropilot.log import printable
from gyropilot.store import candidates, events, jobs, leases, model_data, outputs, progress
from gyropilot.store.candidates import CandidateQuery, CandidateRecord
from gyropilot.store.database import Database
from gyropilot.store.job_logs import JobLog
from gyropilot.store.jobs import JobChanges, JobRecord
from gyropilot.store.leases import Lease
from gyropilot.store.model_data import ModelDataRecord
from gyropilot.store.outputs import OutputRecord
from gyropilot.worker import outcomes
from gyropilot.worker.patience import Patience
from gyropilot.worker.time_used import JOB, TimeUsed

Json = Any

TROUBLES_ALLOWED = 3
_PROGRESS_SECONDS = 1.0
_HEARTBEAT_SECONDS = 2.0
"""How often the time used is noted while no progress is told: what a kill makes the job forget of it."""
_ALL_CANDIDATES = 1000
_ENDED = "candidates ended"


class JobBook:
    """The job's record as last written, and the ways to write it; usable from any thread."""

    def __init__(self, db: Database, lease: Lease, job: JobRecord, patience: Patience, log: JobLog) -> None:
        self.job = job
        self._db, self._lease, self._patience, self._log = db, lease, patience, log
        self._writing = threading.RLock()
        """Held while the job's row or its progress is made from what was there before."""
        self._telling = threading.Lock()
        """Held while an event is appended, so that the newest of its kind says whether a lost answer was a yes."""
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

        with self._writing:
            self.job = self._patience.try_again(write, again=write_again)
        if changes.status is not None:
            self._log_line(
                f"status {changes.status}{': ' if changes.failure_reason else ''}{changes.failure_reason or ''}"
            )

    def note(self, key: str, value: Json) -> None:
        """Keep a value in the job's state, for this run and those after a crash."""
        with self._writing:
            self.write(JobChanges(state={**self.job.state, key: value}))

    def noted(self, key: str) -> Json:
        """Give a kept value; None where there is none."""
        return self.job.state.get(key)

    def enter(self, secondary_status: str) -> None:
        """Say which phase the job is in; a job that is being stopped stays Stopping."""
        self.write(JobChanges(secondary_status=secondary_status))
        self._log_line(f"phase {secondary_status}")
        with self._writing:
            self._told = {}  # what the phase before said last is not true of this one
            self._put_progress()
            self._progress_at = -_PROGRESS_SECONDS
        self.got_further(secondary_status, 0)

    def got_further(self, place: str, amount: float) -> None:
        """Say that a phase, a candidate or its checkpoints got to `amount`.

        Where that is further than any attempt got, the job's lost attempts and troubles count from nothing again.
        """
        with self._writing:
            reached = self.noted("reached") or {}
            if amount > reached.get(place, -1):
                self._write_reached({**reached, place: amount})

    def may_try_again(self) -> bool:
        """Say whether a job that met what may pass is tried again once more."""
        return bool((self.noted("troubles") or 0) + 1 < TROUBLES_ALLOWED)

    def candidate_ended(self, name: str) -> None:
        """Say that a candidate has ended for good: that is further than any attempt got, and its own way is over."""
        self.used.forget(name)
        with self._writing:
            reached: dict[str, float] = self.noted("reached") or {}
            kept = {place: amount for place, amount in reached.items() if place not in (name, f"saved in {name}")}
            self._write_reached({**kept, _ENDED: reached.get(_ENDED, 0) + 1})

    def event(self, kind: str, message: str, detail: Mapping[str, Json] | None = None) -> None:
        """Append an event; the job's log has it too."""
        self._log_line(f"{kind}: {message}")

        def append() -> None:
            events.append(self._db, self._lease, kind, message, dict(detail or {}))

        def append_again() -> None:
            last = events.latest(self._db, self.job.id, kind)
            if last is None or last.at < began_at or last.message != message:
                append()

        with self._telling:
            began_at = clock.now()
            self._patience.try_again(append, again=append_again)

    def progress(self, body: Mapping[str, Json]) -> None:
        """Store how far the job is, at most once a second."""
        with self._writing:
            if clock.monotonic() - self._progress_at >= _PROGRESS_SECONDS:
                self._told = {**body, "at": clock.now().isoformat()}
                self._put_progress()

    def heartbeat(self) -> None:
        """Note the time used, where no progress does so."""
        with self._writing:
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

    def has_candidates(self) -> bool:
        """Say whether training has begun."""
        query = CandidateQuery(job_id=self.job.id, sort_by="CreationTime", sort_order="Ascending", limit=1)
        return bool(self._patience.try_again(lambda: candidates.page(self._db, query)).items)

    def put_candidate(self, record: CandidateRecord) -> None:
        """Write a candidate's record."""
        self._patience.try_again(lambda: candidates.put(self._db, self._lease, record))

    def expect_output(self, part: str, names: Iterable[str]) -> None:
        """Say which files a part of the work is about to put."""
        given = list(names)
        self._patience.try_again(lambda: outputs.expect(self._db, self._lease, part, given))

    def put_output(self, part: str, *, digests: Mapping[str, Json], result: Json) -> None:
        """Say what a part of the work gave, and the digests of what it put."""
        self._patience.try_again(lambda: outputs.put(self._db, self._lease, part, digests=digests, result=result))

    def forget_output(self, part: str) -> None:
        """Drop what is known of a part of the work."""
        self._patience.try_again(lambda: outputs.forget(self._db, self._lease, part))

    def output(self, part: str) -> OutputRecord | None:
        """Give what is known of a part of the work."""
        return self._patience.try_again(lambda: outputs.find(self._db, self.job.id, part))

    def result_of(self, part: str) -> Json:
        """Give what a part of the work gave; None where it has not ended well."""
        found = self.output(part)
        return None if found is None else found.result

    def names_put(self) -> dict[str, set[str]]:
        """Give the files that were put, or may have been, by part."""
        return self._patience.try_again(lambda: outputs.names_of(self._db, self.job.id))

    def digests(self) -> dict[str, Json]:
        """Give sha256 and size of all that was put whole, by name."""
        return self._patience.try_again(lambda: outputs.digests_of(self._db, self.job.id))

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

    def _write_reached(self, reached: Mapping[str, float]) -> None:
        state = {**self.job.state, "reached": reached, "troubles": 0}
        self.write(JobChanges(state=state, lost_attempts=0 if self.job.lost_attempts else None))

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
