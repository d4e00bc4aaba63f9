"""Keeps one job's lease alive while it is worked on, and hears of Stop, in a thread of its own."""

from __future__ import annotations

import logging
import threading
from types import TracebackType

from gyropilot import clock
from gyropilot.errors import LeaseLost, Unavailable
from gyropilot.store import jobs, leases
from gyropilot.store.database import Database
from gyropilot.store.leases import Lease

logger = logging.getLogger(__name__)

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
        renewed_at = clock.monotonic()
        while not self._closed.wait(_POLL_SECONDS) and not self.lost.is_set():
            looked_at = clock.monotonic()
            try:
                self._look_for_stop()
                if looked_at - renewed_at >= self._ttl_seconds / 3:
                    leases.renew(self._db, self._lease, self._ttl_seconds)
                    renewed_at = looked_at
            except LeaseLost:
                self.lost.set()
            except Unavailable as error:
                logger.warning("job %s: its lease could not be renewed, trying again: %s", self._lease.job_id, error)
                if looked_at - renewed_at >= self._ttl_seconds:
                    self.lost.set()
            except Exception:
                logger.exception("job %s: its lease could not be renewed; trying again", self._lease.job_id)
                if looked_at - renewed_at >= self._ttl_seconds:
                    self.lost.set()

    def _look_for_stop(self) -> None:
        job = jobs.get(self._db, self._lease.job_id)
        if job is not None and job.stop_requested_at is not None:
            self.stop_requested.set()
