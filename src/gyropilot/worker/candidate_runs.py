"""The TrainingModels phase: trains what search proposes, several candidates side by side where search says so.

This thread asks and tells; each candidate in work has a thread of its own (candidate_run.py). Those that have ended,
here or in an earlier attempt, are told and not trained again.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Literal

from gyropilot.control.house import House
from gyropilot.errors import LeaseLost, TrainingFailed
from gyropilot.problems import tasks
from gyropilot.problems.contract import Problem, Search, TrainResult
from gyropilot.store import outputs
from gyropilot.store.candidates import CandidateRecord
from gyropilot.worker import candidate_run
from gyropilot.worker.candidate_run import ENDED_BY_JOB_LIMIT, Training
from gyropilot.worker.children import Children, Share
from gyropilot.worker.job_book import JobBook
from gyropilot.worker.job_progress import JobProgress
from gyropilot.worker.time_limits import TimeLimits
from gyropilot.worker.watching import HandedBack, Signals

Json = Any
EndedBy = Literal["finished", "most candidates", "job time limit", "stop"]

_LEAST_SECONDS = 3.0
"""With a model at hand no candidate is begun that had less time than this."""


class CandidateRuns:
    """The phase of one job."""

    def __init__(
        self,
        house: House,
        book: JobBook,
        children: Children,
        signals: Signals,
        problem: Problem,
        folder: Path,
        *,
        share: Share,
        limits: TimeLimits,
    ) -> None:
        self._house, self._book, self._children, self._signals = house, book, children, signals
        self._problem, self._folder, self._share, self._limits = problem, folder, share, limits
        self._reason = ""
        self._is_cut_short = False
        self._interrupted: set[str] = set()
        """Candidates that an earlier attempt began and did not end, and that search has not proposed again."""

    def train_all(self, search: Search, profile: Mapping[str, Json]) -> EndedBy:
        """Train what `search` proposes until it has no more, the time is up or Stop came.

        Raises:
            TrainingFailed: no candidate could be trained; with the last one's reason.
        """
        at_once = max(1, search.at_once(self._share.cores))
        most = self._most_candidates()
        self._interrupted = {one.name for one in self._book.candidates() if one.status == "InProgress"}
        training = Training(
            house=self._house,
            book=self._book,
            children=self._children,
            signals=self._signals,
            problem=self._problem,
            folder=self._folder,
            limits=self._limits,
            progress=JobProgress(self._book, most),
            profile=profile,
            share=self._share.split(at_once),
            at_once=at_once,
        )
        self._train_side_by_side(training, search)
        for name in sorted(self._interrupted):
            candidate_run.leave(training, name, "The search came to its end without it after an interruption.")
        ended_by = self._ended_by(training, most)
        if self._reason and training.progress.best is None and ended_by != "stop":
            raise TrainingFailed(self._reason)
        return ended_by

    def _most_candidates(self) -> int:
        criteria: Mapping[str, Json] = self._book.job.resolved.get("CompletionCriteria", {})
        return int(criteria.get("MaxCandidates", 1))

    def _train_side_by_side(self, training: Training, search: Search) -> None:
        running: set[Future[CandidateRecord]] = set()
        at_once = training.at_once
        with ThreadPoolExecutor(max_workers=at_once, thread_name_prefix=f"candidate-{self._book.job.name}") as pool:
            try:
                while True:
                    while len(running) < at_once and (proposal := self._next(training, search)) is not None:
                        running.add(pool.submit(candidate_run.train, training, proposal))
                    if not running:
                        return
                    ended, running = wait(running, return_when=FIRST_COMPLETED)
                    records = [one.result() for one in ended]
                    for record in sorted(records, key=lambda one: one.created_at):
                        self._tell(training, search, record)
            except BaseException as error:
                self._leave(error)
                raise

    def _next(self, training: Training, search: Search) -> Mapping[str, Json] | None:
        """Give what is to be trained next, if anything is; those that have ended are told meanwhile."""
        while self._goes_on() and (proposal := search.ask()) is not None:
            record = self._book.candidate(proposal["name"])
            if record is not None and record.status != "InProgress":
                self._tell(training, search, record)
            elif record is None and self._begins_no_more(training):
                self._is_cut_short = True
            else:
                self._interrupted.discard(proposal["name"])
                return proposal
        return None

    def _goes_on(self) -> bool:
        """Say whether search is asked for more: what was interrupted is seen to its end though nothing is begun."""
        if self._signals.lease_lost.is_set():
            raise LeaseLost("the job's lease went to another worker")
        if self._signals.is_handed_back:
            raise HandedBack("the service is going down")
        return not self._is_cut_short and (bool(self._interrupted) or not self._is_to_end())

    def _is_to_end(self) -> bool:
        return self._signals.stop_requested.is_set() or self._job_time_is_up()

    def _begins_no_more(self, training: Training) -> bool:
        left = self._limits.training_seconds_left()
        is_late = left is not None and left < _LEAST_SECONDS and training.progress.best is not None
        return is_late or self._is_to_end()

    def _tell(self, training: Training, search: Search, record: CandidateRecord) -> None:
        former = training.progress.best
        training.progress.ended(record)
        if record.status == "Failed":
            self._reason = record.failure_reason or ""
        search.tell(record.name, self._result_of(record))
        # The best one's model is kept for the reports; the others lie in the bucket.
        for one in (former, record):
            if one is not None and one is not training.progress.best:
                shutil.rmtree(candidate_run.output_of(self._folder, one.name), ignore_errors=True)

    def _result_of(self, record: CandidateRecord) -> TrainResult | None:
        if record.status != "Completed":
            return None
        return tasks.train_result(self._book.result_of(outputs.of_candidate(record.name)))

    def _job_time_is_up(self) -> bool:
        """Say whether the job's bound has ended a candidate, or is reached by now."""
        left = self._limits.training_seconds_left()
        return left is not None and (left <= 0 or self._book.noted(ENDED_BY_JOB_LIMIT) is not None)

    def _ended_by(self, training: Training, most: int) -> EndedBy:
        if self._signals.stop_requested.is_set():
            return "stop"
        if self._is_cut_short or self._job_time_is_up():
            return "job time limit"
        return "most candidates" if training.progress.ended_count >= most > 1 else "finished"

    def _leave(self, error: BaseException) -> None:
        """Have the candidates beside one that could not go on end too; the pool waits for them."""
        if isinstance(error, LeaseLost):
            self._signals.lease_lost.set()
        self._signals.abandoned.set()
