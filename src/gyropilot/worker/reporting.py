"""The phases that make reports of a job's best candidate, each in a child; one that fails costs the job no model.

How a report came out is kept, so that a later run goes on with the next.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gyropilot import clock
from gyropilot.control import roles
from gyropilot.control.house import House
from gyropilot.engine import trouble
from gyropilot.engine.engine import Ending
from gyropilot.errors import GyropilotError, LeaseLost, Unavailable
from gyropilot.files import sha256_of
from gyropilot.names import split_s3_uri
from gyropilot.problems import tasks
from gyropilot.problems.contract import Problem, Report, ReportTask
from gyropilot.store import outputs
from gyropilot.store.candidates import CandidateRecord
from gyropilot.worker import candidate_run, children, outcomes, publishing, ranking, scratch
from gyropilot.worker.children import Call, Children, Share, Trouble, Work
from gyropilot.worker.job_book import JobBook
from gyropilot.worker.time_limits import LEAST_LIMIT_SECONDS, TimeLimits
from gyropilot.worker.watching import Grace, HandedBack, Signals

Json = Any
logger = logging.getLogger(__name__)

LEAST_SECONDS = 10.0
"""A report that may take less than this is not begun: its libraries alone take some of that."""
_COMPARED = 10
"""Candidates whose settings a report is told."""
_GRACE = Grace(seconds=2.0, longest_seconds=2.0)
_OF_JOB_LIMIT = (
    "the job's time limit left no time for it; raise it (from"
    f" {LEAST_LIMIT_SECONDS:.0f} s on a part of the time is kept for the reports)"
)


@dataclass(frozen=True, kw_only=True)
class Reported:
    """How the reports of a job came out."""

    artifacts: Mapping[str, str]
    """Where what they made lies, by name."""
    reasons: tuple[str, ...]
    """Why reports are missing."""
    failed_status: str
    """The secondary status of the first that failed; empty: none did."""
    is_cut_short: bool
    """The job's time limit left one out."""


class Reporting:
    """The phases for one job."""

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
        findings: Callable[[], Mapping[str, Json]],
    ) -> None:
        """Take what the phases work with; `findings` gives what profile found, its files in place."""
        self._house, self._book, self._children, self._signals = house, book, children, signals
        self._problem, self._folder, self._share, self._limits = problem, folder, share, limits
        self._findings = findings
        self._uri = publishing.output_uri(book.job.request)

    def make(self, best: CandidateRecord, given_up: str) -> Reported:
        """Make the reports that no earlier run made, unless Stop comes.

        `given_up` says why what an earlier run tried is not tried again; empty: it is.

        Raises:
            Trouble: something is missing that may be there again soon.
            LeaseLost: another worker owns the job.
            HandedBack: the service goes down; a later run goes on.
        """
        for number, report in enumerate(self._problem.reports):
            if self._signals.stop_requested.is_set():
                break
            if self._book.result_of(_part(report)) is not None:
                continue
            left = self._limits.job_seconds_left()
            # What is left is for this report and those behind it.
            seconds_left = None if left is None else left / (len(self._problem.reports) - number)
            if given_up:
                self._keep(report, {"failed": given_up})
                given_up = ""
            elif seconds_left is not None and seconds_left < LEAST_SECONDS:
                self._keep(report, {"left_out": _OF_JOB_LIMIT})
            else:
                self._make(report, best, seconds_left)
        return self._reported(best)

    def is_over(self) -> bool:
        """Say whether no report is left to be made."""
        return all(self._book.result_of(_part(one)) is not None for one in self._problem.reports)

    def _make(self, report: Report, best: CandidateRecord, seconds_left: float | None) -> None:
        """Make a report and keep how it came out; where Stop ended it there is nothing to keep."""
        digests: dict[str, Json] = {}
        try:
            self._book.enter(report.status)
            ending = self._ending(report, best, seconds_left)
            if ending.outcome == "result":
                digests = self._published(report)
            outcome = _outcome(ending)
        except (LeaseLost, HandedBack, Unavailable):
            raise
        except Exception as error:
            if _may_pass(error) and self._book.may_try_again():
                raise
            if not isinstance(error, Trouble | GyropilotError):
                logger.exception("job %s: the %s failed", self._book.job.name, report.name)
            outcome = {"failed": _told(error)}
        if "artifacts" in outcome or not self._signals.stop_requested.is_set():
            self._keep(report, outcome, digests)

    def _ending(self, report: Report, best: CandidateRecord, seconds_left: float | None) -> Ending:
        profile, model = self._findings(), self._model(best)
        result = self._book.result_of(outputs.of_candidate(best.name))
        compared = self._compared()
        until = None if seconds_left is None else clock.monotonic() + seconds_left

        def call() -> Call:
            left = None if until is None else max(0.0, until - clock.monotonic())
            task = ReportTask(
                job_name=self._book.job.name,
                spec=self._book.job.spec,
                profile=profile,
                candidate=best.name,
                result=result,
                model=model,
                prepared=self._folder / "prepared",
                output=scratch.emptied(self._output),
                output_uri=self._uri,
                cores=self._share.cores,
                memory_bytes=self._share.memory_bytes,
                seconds_left=left,
                candidates=compared,
            )
            return Call(arguments=tasks.to_json(task), seconds_left=left)

        work = Work(
            function=report.function,
            what="report",
            share=self._share,
            grace=_GRACE,
            on_stop="kill",
            tell=self._book.progress,
        )
        return self._children.run(work, call)

    def _compared(self) -> tuple[dict[str, Json], ...]:
        """Give what ReportTask says of the job's candidates."""
        told: list[dict[str, Json]] = []
        for place, one in enumerate(ranking.ranked(self._book.candidates())):
            ended = one.ended_at or one.modified_at
            told.append({"name": one.name, "score": one.score, "seconds": (ended - one.created_at).total_seconds()})
            if place < _COMPARED:
                told[-1]["chosen"] = (self._book.result_of(outputs.of_candidate(one.name)) or {}).get("chosen", {})
        return tuple(told)

    def _published(self, report: Report) -> dict[str, Json]:
        self._book.expect_output(_part(report), publishing.names_in(self._output))
        objects = roles.objects_of_job(self._house, self._book.job.request["RoleArn"])
        return publishing.publish(objects, self._output, self._uri, before_each=self._book.check_lease)

    @property
    def _output(self) -> Path:
        return self._folder / "output" / "report"

    def _keep(self, report: Report, outcome: Mapping[str, Json], digests: Mapping[str, Json] | None = None) -> None:
        self._book.put_output(_part(report), digests=digests or {}, result=dict(outcome))
        if "artifacts" not in outcome:
            self._book.event("report_missing", _reason(report, outcome))

    def _reported(self, best: CandidateRecord) -> Reported:
        outcomes_of = [(one, self._book.result_of(_part(one)) or {}) for one in self._problem.reports]
        named = {name: path for _, outcome in outcomes_of for name, path in outcome.get("artifacts", {}).items()}
        artifacts = {name: f"{self._uri}/{path}" for name, path in named.items()}
        if artifacts:
            self._book.put_candidate(outcomes.with_artifacts(best, artifacts))
        missing = [(one, outcome) for one, outcome in outcomes_of if outcome and "artifacts" not in outcome]
        return Reported(
            artifacts=artifacts,
            reasons=tuple(_reason(one, outcome) for one, outcome in missing),
            failed_status=next((one.failed_status for one, outcome in missing if "failed" in outcome), ""),
            is_cut_short=any("left_out" in outcome for _, outcome in missing),
        )

    def _model(self, best: CandidateRecord) -> Path:
        """Give the folder of the best candidate's files; fetched from the bucket where training left none here."""
        folder = candidate_run.output_of(self._folder, best.name)
        if folder.exists():
            return folder
        found = self._book.output(outputs.of_candidate(best.name))
        objects = roles.objects_of_job(self._house, self._book.job.request["RoleArn"])
        bucket, prefix = split_s3_uri(self._uri)
        fetched = scratch.emptied(folder.with_name(f"{best.name}.partial"))
        for name, digest in ({} if found is None else found.digests).items():
            there, target = objects.head(bucket, f"{prefix}/{name}"), fetched / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if there is not None:
                objects.fetch(bucket, there.key, target, etag=there.etag)
            if there is None or sha256_of(target) != digest["sha256"]:
                shutil.rmtree(fetched)
                raise Trouble(f"{self._uri}/{name} is not as training left it")
        fetched.rename(folder)
        return folder


def _part(report: Report) -> str:
    return f"report:{report.name}"


def _outcome(ending: Ending) -> dict[str, Json]:
    if ending.outcome == "result":
        return {"artifacts": dict(ending.result["artifacts"])}
    if children.is_cut_off(ending):
        return {"left_out": _OF_JOB_LIMIT}
    return {"failed": children.failure_reason(ending)}


def _reason(report: Report, outcome: Mapping[str, Json]) -> str:
    return f"The {report.name} was not made: {outcome.get('failed') or outcome.get('left_out')}"


def _may_pass(error: Exception) -> bool:
    return isinstance(error, Trouble) or trouble.may_pass(error)


def _told(error: Exception) -> str:
    if isinstance(error, Trouble | GyropilotError):
        return str(error)
    return trouble.told(error) if trouble.may_pass(error) else "InternalFailure: an error of this service"
