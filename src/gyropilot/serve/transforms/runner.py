"""Runs transform jobs in the order they were created, as many at once as the settings say."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from gyropilot import clock
from gyropilot.control.house import House
from gyropilot.errors import Unavailable
from gyropilot.serve.replicas.endpoint_replicas import Patience
from gyropilot.serve.replicas.held_processes import HeldProcesses
from gyropilot.serve.replicas.model_files import ModelFiles
from gyropilot.serve.transforms import work_folder
from gyropilot.serve.transforms.transform_run import TransformRun
from gyropilot.store import transform_jobs
from gyropilot.store.transform_jobs import TransformJobRecord

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.25
_AWAY_SECONDS = 1.0
WAIT_SECONDS = (5.0, 20.0, 60.0, 120.0, 300.0)
"""How long a job waits for what may pass, such as a full disk, each time that it got no further; then it fails."""


@dataclass(frozen=True, kw_only=True)
class _Wait:
    count: int
    until: float
    records_done: int


class TransformRunner:
    """Runs the transform jobs of a home; one process at a time does, the one that holds the lock `serve`."""

    def __init__(
        self,
        house: House,
        processes: HeldProcesses,
        files: ModelFiles,
        patience: Patience | None = None,
        wait_seconds: Sequence[float] = WAIT_SECONDS,
    ) -> None:
        self._house, self._processes, self._files = house, processes, files
        self._patience = patience or Patience()
        self._going_down = threading.Event()
        self._running: dict[str, threading.Thread] = {}
        self._wait_seconds = wait_seconds
        self._waits: dict[str, _Wait] = {}
        self._thread = threading.Thread(target=self._run, name="transforms")

    def start(self) -> None:
        """Begin to run jobs."""
        self._thread.start()

    def stop(self) -> None:
        """Hand the running jobs back, to be gone on with later, and wait until that is done."""
        self._going_down.set()
        self._thread.join()
        for thread in list(self._running.values()):
            thread.join()

    def _run(self) -> None:
        has_swept = is_away = False
        while not self._going_down.wait(_AWAY_SECONDS if is_away else _POLL_SECONDS):
            if not self._processes.is_prepared:
                continue
            self._running = {job_id: thread for job_id, thread in self._running.items() if thread.is_alive()}
            try:
                if not has_swept:
                    work_folder.remove_others(self._house.settings.transforms, self._is_open)
                has_swept, is_away = True, False
                # Those that run or wait for what may pass have begun, so they come first; behind them what is next.
                limit = self._house.settings.transforms_at_once + len(self._running) + len(self._waits)
                self._begin_what_fits(transform_jobs.next_open(self._house.db, limit=limit))
            except Unavailable as error:
                if not is_away:
                    logger.warning("no transform job can be looked for, trying again: %s", error)
                is_away = True
            except Exception:
                logger.exception("looking for transform jobs failed; trying again")

    def _is_open(self, job_id: str) -> bool:
        found = transform_jobs.get(self._house.db, job_id)
        return found is not None and found.ended_at is None

    def _begin_what_fits(self, jobs: list[TransformJobRecord]) -> None:
        for job in jobs:
            wait = self._waits.get(job.id)
            is_due = wait is None or job.status == "Stopping" or clock.monotonic() >= wait.until
            if job.id in self._running or not is_due:
                continue
            if len(self._running) >= self._house.settings.transforms_at_once and job.status != "Stopping":
                continue
            begun = transform_jobs.begin(self._house.db, job.id)
            if begun is not None:
                thread = threading.Thread(target=self._run_job, args=(begun,), name=f"transform-{job.name}")
                self._running[job.id] = thread
                thread.start()

    def _run_job(self, job: TransformJobRecord) -> None:
        run = TransformRun(self._house, job, self._processes, self._files, self._patience, self._going_down)
        try:
            if run.run() != "waits":
                self._waits.pop(job.id, None)
                return
            cause = run.trouble
        except Unavailable as error:
            cause = str(error)
            logger.warning("transform job %s: waits: %s", job.name, error)
        except Exception:
            cause = "InternalFailure: an error of this service kept the job from its end."
            logger.exception("transform job %s: could not even be failed; trying again", job.name)
        try:
            self._wait_or_fail(job, run, cause)
        except Unavailable as error:
            logger.warning("transform job %s: waits for the database: %s", job.name, error)

    def _wait_or_fail(self, job: TransformJobRecord, run: TransformRun, cause: str) -> None:
        """Let the job wait, longer each time that it got no further; fail it when it has waited often enough."""
        before = self._waits.get(job.id)
        found = transform_jobs.get(self._house.db, job.id)
        done = 0 if found is None else found.state.get("records_done", 0)
        count = before.count + 1 if before is not None and before.records_done == done else 0
        if count >= len(self._wait_seconds):
            self._waits.pop(job.id, None)
            run.fail(f"{cause}; it did not pass in {count} tries")
            return
        until = clock.monotonic() + self._wait_seconds[count]
        self._waits[job.id] = _Wait(count=count, until=until, records_done=done)
