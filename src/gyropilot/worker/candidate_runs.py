"""Trains a job's candidates one after the other and publishes each; finished ones are not trained again."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from gyropilot import clock
from gyropilot.control import roles
from gyropilot.control.house import House
from gyropilot.engine.engine import Ending
from gyropilot.errors import TrainingFailed
from gyropilot.problems import tasks
from gyropilot.problems.contract import Problem, Search, Spec, TrainTask
from gyropilot.worker import outcomes, publishing
from gyropilot.worker.children import Call, Children
from gyropilot.worker.job_book import JobBook
from gyropilot.worker.time_used import JOB
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
        ended_by: EndedBy = "finished"
        reason = ""
        while ended_by == "finished" and (proposal := search.ask()) is not None:
            name = proposal["name"]
            reason = self._train(proposal, profile)
            search.tell(name, None if reason else tasks.train_result(self._book.noted("results")[name]))
            if self._signals.stop_requested.is_set():
                ended_by = "stop"
            elif self._job_time_is_up(name):
                ended_by = "job time limit"
        has_model = any(one.status == "Completed" for one in self._book.candidates())
        if reason and not has_model and ended_by != "stop":
            raise TrainingFailed(reason)
        return ended_by

    def job_seconds_left(self) -> float | None:
        """Give how long the job may still take; None: no bound."""
        limit = self._spec.limits.seconds_per_job
        return None if limit is None else limit - self._book.used.seconds(JOB)

    def _train(self, proposal: Mapping[str, Json], profile: Mapping[str, Json]) -> str:
        """Train one candidate, unless that is done, and store it; give why it failed, or an empty text."""
        name = proposal["name"]
        record = self._book.candidate(name)
        if record is not None and record.status != "InProgress":
            return record.failure_reason or ""
        record = record or outcomes.in_progress(self._book.job, name, clock.now())
        self._book.put_candidate(record)
        self._book.got_further(name, 0)
        self._book.used.begin(name)
        output = self._folder / "output" / name
        ending = self._children.run(
            self._problem.train, lambda: self._call(proposal, profile, output), what=name, on_stop="ask"
        )
        if ending.outcome != "result":
            reason = failure_reason(ending)
            status: Literal["Failed", "Stopped"] = "Stopped" if self._signals.stop_requested.is_set() else "Failed"
            self._book.put_candidate(outcomes.ended_without_model(record, status, reason))
            self._book.used.forget(name)
            return reason
        if self._was_ended_by_job_limit(name, ending.result):
            self._book.note("ended_by_job_limit", name)
        self._publish(name, output, ending.result)
        self._book.put_candidate(outcomes.completed(record, self._book.job, ending.result, self._uri))
        self._book.used.forget(name)
        return ""

    def _call(self, proposal: Mapping[str, Json], profile: Mapping[str, Json], output: Path) -> Call:
        settings = self._house.settings
        checkpoints = self._folder / "checkpoints" / proposal["name"]
        checkpoints.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir(parents=True)
        seconds_left = self._candidate_seconds_left(proposal["name"])
        task = TrainTask(
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
            seconds_left=seconds_left,
            checkpoint_seconds=settings.checkpoint_seconds,
            evaluation_seconds=settings.evaluation_seconds,
        )
        return Call(arguments=tasks.to_json(task), seconds_left=seconds_left)

    def _publish(self, name: str, output: Path, result: Json) -> None:
        self._book.progress({"phase": "uploading", "done": 0, "total": 1, "unit": "candidates", "values": {}})
        # Noted first: the write proves that the lease holds, and tells a later run what may have been put.
        self._book.note("put", sorted({*(self._book.noted("put") or []), *publishing.names_in(output)}))
        objects = roles.objects_of_job(self._house, self._book.job.request["RoleArn"])
        digests = publishing.publish(objects, output, self._uri, before_each=self._book.check_lease)
        self._book.note("published", {**(self._book.noted("published") or {}), **digests})
        self._book.put_model_data(outcomes.model_data(self._book.job, name, result, self._uri, digests))
        self._book.note("results", {**(self._book.noted("results") or {}), name: result})

    def _job_time_is_up(self, name: str) -> bool:
        """Say whether the job's bound, rather than the candidate's own, ended the candidate or is reached by now."""
        left = self.job_seconds_left()
        return left is not None and (left <= 0 or self._book.noted("ended_by_job_limit") == name)

    def _was_ended_by_job_limit(self, name: str, result: Json) -> bool:
        left, own = self.job_seconds_left(), self._own_seconds_left(name)
        return result["ended_by"] == "time limit" and left is not None and (own is None or left <= own)

    def _own_seconds_left(self, name: str) -> float | None:
        limit = self._spec.limits.seconds_per_candidate
        return None if limit is None else limit - self._book.used.seconds(name)

    def _candidate_seconds_left(self, name: str) -> float | None:
        bounds = [one for one in (self._own_seconds_left(name), self.job_seconds_left()) if one is not None]
        return max(0.0, min(bounds)) if bounds else None


def failure_reason(ending: Ending) -> str:
    """Give what a FailureReason says of an ending that is no result."""
    if ending.error == "InternalFailure":
        return f"InternalFailure: an error of this service ended training ({ending.message}); see the job's log."
    return ending.message
