"""Trains a job's candidates one after the other and publishes each; finished ones are not trained again."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from gyropilot import clock
from gyropilot.control.house import House
from gyropilot.engine.engine import Ending
from gyropilot.errors import TrainingFailed
from gyropilot.problems import tasks
from gyropilot.problems.contract import Problem, Search, Spec, TrainTask
from gyropilot.worker import outcomes, publishing
from gyropilot.worker.children import Children
from gyropilot.worker.job_book import JobBook
from gyropilot.worker.watching import Signals

Json = Any
EndedBy = Literal["finished", "job time limit", "stop"]


class CandidateRuns:
    """The TrainingModels phase of one job."""

    def __init__(
        self, house: House, book: JobBook, children: Children, signals: Signals, problem: Problem, folder: Path
    ) -> None:
        self._house, self._book, self._children, self._signals = house, book, children, signals
        self._problem, self._folder = problem, folder
        self._spec: Spec = problem.read_spec(book.job.spec)
        self._uri = publishing.output_uri(book.job.request)

    def train_all(self, search: Search, profile: Mapping[str, Json]) -> EndedBy:
        """Train what `search` proposes until it has no more, the time is up or Stop came.

        Raises:
            TrainingFailed: no candidate could be trained; with the last one's reason.
        """
        reason = ""
        while (proposal := search.ask()) is not None:
            name = proposal["name"]
            reason = self._train(proposal, profile)
            search.tell(name, None if reason else tasks.train_result(self._book.noted("results")[name]))
            if self._signals.stop_requested.is_set():
                return "stop"
            if self._job_time_is_up(name):
                return "job time limit"
        if reason and not any(one.status == "Completed" for one in self._book.candidates()):
            raise TrainingFailed(reason)
        return "finished"

    def job_seconds_left(self) -> float | None:
        """Give how long the job may still take; None: no bound."""
        limit = self._spec.limits.seconds_per_job
        return None if limit is None else limit - _seconds_since(self._book.job.started_at or clock.now())

    def _train(self, proposal: Mapping[str, Json], profile: Mapping[str, Json]) -> str:
        """Train one candidate, unless that is done, and store it; give why it failed, or an empty text."""
        name = proposal["name"]
        record = self._book.candidate(name)
        if record is not None and record.status != "InProgress":
            return record.failure_reason or ""
        record = record or outcomes.in_progress(self._book.job, name, clock.now())
        self._book.put_candidate(record)
        task = self._task(proposal, record.created_at, profile)
        ending = self._children.run(
            self._problem.train, tasks.to_json(task), seconds_left=task.seconds_left, on_stop="ask"
        )
        if ending.outcome != "result":
            reason = failure_reason(ending)
            self._book.put_candidate(outcomes.failed(record, reason))
            return reason
        self._publish(name, task.output, ending.result)
        self._book.put_candidate(outcomes.completed(record, self._book.job, ending.result, self._uri))
        return ""

    def _task(self, proposal: Mapping[str, Json], started_at: datetime, profile: Mapping[str, Json]) -> TrainTask:
        settings = self._house.settings
        checkpoints = self._folder / "checkpoints" / proposal["name"]
        checkpoints.mkdir(parents=True, exist_ok=True)
        output = self._folder / "output" / proposal["name"]
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir(parents=True)
        return TrainTask(
            job_name=self._book.job.name,
            spec=self._book.job.spec,
            candidate=proposal,
            profile=profile,
            base_models=settings.base_models,
            prepared=self._folder / "prepared",
            checkpoints=checkpoints,
            output=output,
            output_uri=self._uri,
            cores=self._children.share.cores,
            memory_bytes=self._children.share.memory_bytes,
            seconds_left=self._candidate_seconds_left(started_at),
            checkpoint_seconds=settings.checkpoint_seconds,
            evaluation_seconds=settings.evaluation_seconds,
        )

    def _publish(self, name: str, output: Path, result: Json) -> None:
        self._book.progress({"phase": "uploading", "done": 0, "total": 1, "unit": "candidates", "values": {}})
        digests = publishing.publish(self._house.objects, output, self._uri)
        self._book.note("published", {**(self._book.noted("published") or {}), **digests})
        self._book.note("results", {**(self._book.noted("results") or {}), name: result})

    def _job_time_is_up(self, name: str) -> bool:
        left = self.job_seconds_left()
        result = (self._book.noted("results") or {}).get(name, {})
        ended_by_clock = result.get("ended_by") == "time limit" and self._spec.limits.seconds_per_candidate is None
        return left is not None and (left <= 0 or ended_by_clock)

    def _candidate_seconds_left(self, started_at: datetime) -> float | None:
        limit = self._spec.limits.seconds_per_candidate
        own = None if limit is None else limit - _seconds_since(started_at)
        bounds = [one for one in (own, self.job_seconds_left()) if one is not None]
        return max(0.0, min(bounds)) if bounds else None


def failure_reason(ending: Ending) -> str:
    """Give what a FailureReason says of an ending that is no result."""
    if ending.error == "InternalFailure":
        return f"InternalFailure: an error of this service ended training ({ending.message}); see the job's log."
    return ending.message


def _seconds_since(moment: datetime) -> float:
    return (clock.now() - moment).total_seconds()
