"""Keeps one job's lease alive while it is worked on, and hears of Stop, in a thread of its own."""

from __future__ import annotations

import threading
from types import TracebackType

from gyropilot.errors import LeaseLost
from gyropilot.store import jobs, leases
from gyropilot.store.database import Database
from gyropilot.store.leases import Lease

_POLL_SECONDS = 0.5


class LeaseKeeper:
    """Renews a lease from `with` to its end."""

    def __init__(self, db: Database, lease: Lease, *, ttl_seconds: float) -> None:
        self.lost = threading.Event()
        self.stop_requested = threading.Event()
        self._db, self._lease, self._ttl_seconds = db, lease, ttl_seconds
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"lease-{lease.job_id[:8]}", daemon=True)

    def __enter__(self) -> LeaseKeeper:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        polls_per_renewal = max(1, int(self._ttl_seconds / 3 / _POLL_SECONDS))
        polls = 0
        while not self._closed.wait(_POLL_SECONDS):
            polls += 1
            job = jobs.get(self._db, self._lease.job_id)
            if job is not None and job.stop_requested_at is not None:
                self.stop_requested.set()
            if polls % polls_per_renewal == 0 and not self._renewed():
                return

    def _renewed(self) -> bool:
        try:
            leases.renew(self._db, self._lease, self._ttl_seconds)
        except LeaseLost:
            self.lost.set()
            return False
        return True
