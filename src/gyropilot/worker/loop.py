"""Claims jobs and runs each in a thread of its own, as many at once as the settings say.

`jobs_at_once` bounds what this worker runs, `running_jobs` what all workers of the database run together.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from gyropilot import clock, names
from gyropilot.control.house import House
from gyropilot.engine.engine import Engine
from gyropilot.errors import LeaseLost, Unavailable
from gyropilot.store import jobs, leases
from gyropilot.store.jobs import JobRecord
from gyropilot.store.leases import Lease
from gyropilot.worker import scratch
from gyropilot.worker.children import Share
from gyropilot.worker.job_run import JobRun

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.25
_AWAY_SECONDS = 1.0
_LET_GO_SECONDS = 3.0


class Worker:
    """One worker of this process; `stop` hands every job back."""

    def __init__(self, house: House, engine: Engine) -> None:
        self._house, self._engine = house, engine
        self._owner = names.new_id()
        self._going_down = threading.Event()
        self._running: dict[str, threading.Thread] = {}
        self._thread = threading.Thread(target=self._run, name="worker")

    def start(self) -> None:
        """Begin to claim."""
        scratch.wipe_ended(self._house.settings.scratch, self._has_ended)
        self._thread.start()

    def stop(self) -> None:
        """End the children, hand the jobs back and wait until that is done."""
        self._going_down.set()
        self._thread.join()
        for thread in list(self._running.values()):
            thread.join()

    def _run(self) -> None:
        try:
            self._engine.clear_leftovers()
        except Exception:
            logger.exception("what a killed service left could not be cleared")
        is_away = False
        while not self._going_down.wait(_AWAY_SECONDS if is_away else _POLL_SECONDS):
            self._running = {job_id: thread for job_id, thread in self._running.items() if thread.is_alive()}
            try:
                self._claim_what_fits()
                is_away = False
            except Unavailable as error:
                if not is_away:
                    logger.warning("no job can be claimed, trying again: %s", error)
                is_away = True
            except Exception:
                logger.exception("claiming failed; trying again")

    def _claim_what_fits(self) -> None:
        settings = self._house.settings
        at_once, at_most = settings.jobs_at_once, settings.running_jobs or None
        while len(self._running) < at_once:
            claimed = leases.claim(self._house.db, self._owner, settings.lease_seconds, at_most)
            if claimed is None:
                return
            lease, job = claimed
            if job.id in self._running:  # it lost its lease and is still ending its child
                self._running.pop(job.id).join()
            thread = threading.Thread(target=self._run_job, args=(lease, job), name=f"job-{job.name}")
            self._running[job.id] = thread
            thread.start()

    def _run_job(self, lease: Lease, job: JobRecord) -> None:
        logger.info("job %s: claimed, epoch %d", job.name, lease.epoch)
        at_once = self._house.settings.jobs_at_once
        share = Share(cores=max(1, self._engine.cores // at_once), memory_bytes=self._engine.memory_bytes // at_once)
        try:
            wait = JobRun(self._house, self._engine, lease, job, share, self._going_down).run()
        except LeaseLost as error:
            logger.warning("job %s: left before it was begun: %s", job.name, error)
            wait = 0.0
        except Unavailable as error:
            logger.warning("job %s: its run needs the database: %s", job.name, error)
            wait = _AWAY_SECONDS
        except Exception as error:
            logger.exception("job %s: its run broke", job.name)
            broken = type(error).__name__
            self._let_go(job, lambda: self._give_up_or_fail(lease, job, broken))
            return
        self._let_go(job, lambda: leases.release(self._house.db, lease, not_for_seconds=wait))

    def _give_up_or_fail(self, lease: Lease, job: JobRecord, broken: str) -> None:
        """Count the job as lost; at the last loss allowed end it here, since its own way to fail does not work."""
        if job.lost_attempts + 1 < self._house.settings.job_attempts:
            leases.give_up(self._house.db, lease)
            return
        reason = f"InternalFailure: an error of this service ended the job ({broken}); its log has the details."
        jobs.update(self._house.db, lease, jobs.JobChanges(status="Failed", failure_reason=reason))
        leases.release(self._house.db, lease)

    def _let_go(self, job: JobRecord, work: Callable[[], None]) -> None:
        until = clock.monotonic() + _LET_GO_SECONDS
        while True:
            try:
                work()
                return
            except LeaseLost:
                logger.info("job %s: lease already gone", job.name)
                return
            except Unavailable as error:
                if clock.monotonic() > until:
                    logger.warning("job %s: not handed back, it is free when its lease ends: %s", job.name, error)
                    return
                clock.sleep(_POLL_SECONDS)

    def _has_ended(self, job_id: str) -> bool:
        job = jobs.get(self._house.db, job_id)
        return job is None or job.ended_at is not None
