"""Runs transform jobs in the order they were created, as many at once as the settings say."""

from __future__ import annotations

import logging
import threading

from gyropilot import clock
from gyropilot.control.house import House
from gyropilot.errors import Unavailable
from gyropilot.serve.held_processes import HeldProcesses
from gyropilot.serve.model_files import ModelFiles
from gyropilot.serve.replicas import Patience
from gyropilot.serve.transforms import work_folder
from gyropilot.serve.transforms.transform_run import TransformRun
from gyropilot.store import transform_jobs
from gyropilot.store.transform_jobs import TransformJobRecord

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.25
_AWAY_SECONDS = 1.0
_WAIT_SECONDS = 5.0


class TransformRunner:
    """Runs the transform jobs of a home; one process at a time does, the one that holds the lock `serve`."""

    def __init__(
        self, house: House, processes: HeldProcesses, files: ModelFiles, patience: Patience | None = None
    ) -> None:
        self._house, self._processes, self._files = house, processes, files
        self._patience = patience or Patience()
        self._going_down = threading.Event()
        self._running: dict[str, threading.Thread] = {}
        self._not_before: dict[str, float] = {}
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
                # Those that run or wait for what may pass are the oldest; behind them comes what is next.
                limit = self._house.settings.transforms_at_once + len(self._running) + len(self._not_before)
                self._begin_what_fits(transform_jobs.oldest_open(self._house.db, limit=limit))
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
        self._not_before = {one.id: self._not_before[one.id] for one in jobs if one.id in self._not_before}
        for job in jobs:
            is_due = job.status == "Stopping" or clock.monotonic() >= self._not_before.get(job.id, 0.0)
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
            outcome = run.run()
        except Unavailable as error:
            logger.warning("transform job %s: waits: %s", job.name, error)
            outcome = "waits"
        except Exception:
            logger.exception("transform job %s: could not even be failed; trying again", job.name)
            outcome = "waits"
        if outcome == "waits":
            self._not_before[job.id] = clock.monotonic() + _WAIT_SECONDS
