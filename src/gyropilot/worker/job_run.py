"""One job's walk through its phases; each phase can be run again after a crash at any moment.

Starting        pin the input objects (profiling.py)
PreTraining     problem.profile in a child: reads and checks the data, once a job
TrainingModels  problem.train in a child, once a candidate, several side by side; each one's artifacts are published
...Report       what the problem type makes of the best candidate (reporting.py); then the manifest
DeployingModel  where the request asks for it: the best candidate becomes an endpoint (deploying.py)
end             the last status
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Mapping
from typing import Any

from gyropilot.control import deployments, roles
from gyropilot.control.house import House
from gyropilot.engine import trouble
from gyropilot.engine.engine import Engine
from gyropilot.errors import GyropilotError, LeaseLost, TrainingFailed, Unavailable
from gyropilot.problems import catalog
from gyropilot.store import outputs
from gyropilot.store.candidates import CandidateRecord
from gyropilot.store.job_logs import JobLog
from gyropilot.store.jobs import JobChanges, JobRecord
from gyropilot.store.leases import Lease
from gyropilot.store.role_objects import RoleObjects
from gyropilot.store.statuses import Status
from gyropilot.worker import outcomes, profiling, publishing, ranking, reporting, scratch
from gyropilot.worker.candidate_runs import CandidateRuns, EndedBy
from gyropilot.worker.children import Children, Share, Trouble, times
from gyropilot.worker.deploying import Deploying, DeploymentFailed
from gyropilot.worker.job_book import JobBook
from gyropilot.worker.lease_keeper import LeaseKeeper
from gyropilot.worker.patience import Patience
from gyropilot.worker.profiling import Profiling
from gyropilot.worker.reporting import Reported, Reporting
from gyropilot.worker.time_limits import TimeLimits
from gyropilot.worker.watching import HandedBack, Signals

Json = Any
logger = logging.getLogger(__name__)

TROUBLE_SECONDS = 5.0
"""How long a job waits after its first trouble; after each that follows four times as long."""
_MANIFEST = "manifest"


class Stopped(Exception):
    """Stop came before there was a model to keep."""


class JobRun:
    """Runs one claimed job to its end, or until its lease is lost or the service goes down."""

    def __init__(
        self, house: House, engine: Engine, lease: Lease, job: JobRecord, share: Share, going_down: threading.Event
    ) -> None:
        self._house = house
        self._problem = catalog.named(job.problem, house.problems)
        self._scratch = house.settings.scratch
        self._folder = scratch.take(self._scratch, job.id, lease.epoch)
        self._uri = publishing.output_uri(job.request)
        self._keeper = LeaseKeeper(house.db, lease, ttl_seconds=house.settings.lease_seconds)
        self._log = JobLog(house.settings.logs / job.id, most_bytes=house.settings.log_mib_per_job * 2**20)
        self._book = JobBook(house.db, lease, job, Patience(self._keeper.lost, going_down), self._log)
        signals = Signals(
            lease_lost=self._keeper.lost, stop_requested=self._keeper.stop_requested, going_down=going_down
        )
        children = Children(
            engine,
            self._book,
            signals,
            scratch=self._folder / "child",
            log=self._log,
            deaths_allowed=house.settings.job_attempts,
        )
        spec = self._problem.read_spec(job.spec)
        self._limits = limits = TimeLimits(spec.limits, self._book.used, has_reports=bool(self._problem.reports))
        parts = (self._problem, self._folder)
        self._profiling = Profiling(house, self._book, children, *parts, share=share, limits=limits)
        self._candidates = CandidateRuns(house, self._book, children, signals, *parts, share=share, limits=limits)
        self._reporting = Reporting(
            house, self._book, children, signals, *parts, share=share, limits=limits, findings=self._profiling.findings
        )
        self._deploying = Deploying(house, self._book, signals, limits.job_seconds_left)

    def run(self) -> float:
        """Walk the phases; every way out leaves the job either ended or free to be claimed again.

        Gives how many seconds it should not be claimed for.
        """
        with self._keeper, contextlib.closing(self._log):
            try:
                self._walk_to_an_end()
            except LeaseLost:
                logger.warning("job %s: lease lost, leaving it", self._book.job.name)
                return 0.0
            except HandedBack as leaving:
                logger.info("job %s: handed back: %s", self._book.job.name, leaving)
                return leaving.not_for_seconds
        scratch.wipe(self._scratch, self._book.job.id)
        return 0.0

    def _walk_to_an_end(self) -> None:
        try:
            self._walk()
        except (LeaseLost, HandedBack):
            raise
        except Stopped:
            if self._ends_with_best("stop", ""):
                return
            self._book.close_candidates("Stopped", "The job was stopped before there was a model to keep.")
            self._book.event("stopped", "The job was stopped before there was a model to keep.")
            self._book.write(JobChanges(status="Stopped"))
        except Unavailable as error:
            raise HandedBack(f"the database is away: {error}") from error
        except Trouble as error:
            self._try_again_or_fail(str(error))
        except GyropilotError as error:
            self._fail(str(error))
        except Exception as error:
            if trouble.may_pass(error):
                self._try_again_or_fail(trouble.told(error))
                return
            logger.exception("job %s: internal failure", self._book.job.name)
            self._fail("InternalFailure: an error of this service ended the job; the service's log has the details.")

    def _walk(self) -> None:
        if self._book.job.stop_requested_at is not None:
            self._keeper.stop_requested.set()
        given_up = self._lost_too_often()
        ended_by: EndedBy | None = self._book.noted("ended_by")
        if ended_by is not None:  # all is published; what is left cannot cost the job its model
            self._book.event("resumed", "The job goes on after an interruption.")
            self._end(ended_by, given_up)
            return
        trained_by: EndedBy | None = self._book.noted("trained_by")
        if given_up and (trained_by is None or self._reporting.is_over()):
            raise TrainingFailed(given_up)
        self._profiling.pin()
        if trained_by is None:
            trained_by = self._trained()
        if trained_by is None:
            return
        reported = self._reported(trained_by, given_up)
        if self._keeper.stop_requested.is_set():
            trained_by = "stop"
        elif reported.is_cut_short and trained_by != "stop" and self._is_time_up():
            trained_by = "job time limit"
        self._conclude(trained_by, reported)
        self._end(trained_by, "")

    def _trained(self) -> EndedBy | None:
        """Train the candidates and give what ended that; None where the job was to end before it, and has."""
        has_begun_training = self._book.has_candidates()  # then a stop keeps what was trained before an interruption
        if not has_begun_training:
            self._leave_if_stopped()
        profile = self._profiled()
        if not has_begun_training:
            self._leave_if_stopped()
        if ends_as := profile.get("ends_as"):
            self._end_without_training(ends_as)
            return None
        search = self._problem.open_search(self._problem.read_spec(self._book.job.spec), profile)
        self._book.enter(profile.get("trains_as", self._problem.train_status))
        trained_by = self._candidates.train_all(search, profile)
        self._book.note("trained_by", trained_by)
        return trained_by

    def _profiled(self) -> Mapping[str, Json]:
        try:
            return self._profiling.findings()
        except TrainingFailed:
            self._leave_if_stopped()
            raise

    def _lost_too_often(self) -> str:
        """Tell of a lost attempt, and give why it was the last one allowed, or an empty text."""
        lost, allowed = self._book.job.lost_attempts, self._house.settings.job_attempts
        if not lost:
            return ""
        place = self._book.place()
        again = "" if lost == 1 else f", {times(lost)} in a row without getting further"
        self._book.event(
            "lost",
            f"The worker died while it worked on this job ({place}){again}; {times(allowed)} in a row end the job.",
            {"lost_attempts": lost},
        )
        if lost < allowed:
            return ""
        return (
            f"The worker died {times(lost)} in a row while it worked on this job without getting further, last in"
            f" {place}. The service's log, or the kernel's if memory ran out, says why; create the job again once"
            " that is mended."
        )

    def _reported(self, trained_by: EndedBy, given_up: str) -> Reported:
        best = self._best(trained_by)
        if trained_by == "stop":
            return Reported(artifacts={}, reasons=(), failed_status="", is_cut_short=False)
        return self._reporting.make(best, given_up)

    def _best(self, trained_by: EndedBy) -> CandidateRecord:
        """Give the best candidate.

        Raises:
            Stopped: there is none, for Stop came.
            TrainingFailed: there is none, for the time was up.
        """
        best = ranking.best_of(self._book.candidates())
        if best is None and trained_by == "stop":
            raise Stopped
        if best is None:
            raise TrainingFailed("The time limit ended the job before any model was trained; raise the limit.")
        return best

    def _conclude(self, ended_by: EndedBy, reported: Reported) -> None:
        """Name the best candidate and put the manifest: what was made is whole then."""
        best = self._best(ended_by)
        named = self._book.result_of(outputs.of_candidate(best.name))["artifacts"]
        artifacts = {**self._book.job.artifacts, **{name: f"{self._uri}/{path}" for name, path in named.items()}}
        artifacts |= {**reported.artifacts, "output": self._uri, **self._put_manifest()}
        self._book.write(JobChanges(best_candidate=best.name, artifacts=artifacts))
        self._book.note("reported", {"reasons": list(reported.reasons), "failed_status": reported.failed_status})
        if deployments.is_wanted(self._book.job.request):
            self._book.note("ended_by", ended_by)

    def _end_without_training(self, secondary_status: str) -> None:
        """End a job that was to define its candidates alone."""
        artifacts = {**self._book.job.artifacts, "output": self._uri, **self._put_manifest()}
        self._book.write(JobChanges(status="Completed", secondary_status=secondary_status, artifacts=artifacts))

    def _put_manifest(self) -> dict[str, str]:
        digests = self._book.digests()
        self._book.expect_output(_MANIFEST, [publishing.MANIFEST])
        digest = publishing.publish_manifest(self._objects(), self._uri, digests)
        return {"manifest": f"{self._uri}/{publishing.MANIFEST}", "manifest_sha256": digest}

    def _end(self, ended_by: EndedBy, given_up: str) -> None:
        """Deploy the best candidate where that is asked for, and write the last status.

        `given_up` says why what earlier runs tried is not tried again; empty: it is.
        """
        not_deployed, is_wanted = "", deployments.is_wanted(self._book.job.request)
        is_late = is_wanted and ended_by == "job time limit"
        if is_wanted and ended_by in _WHOLE:
            ended_by, not_deployed = self._deployed(ended_by, given_up)
        status, secondary_status = _END_STATUSES[ended_by]
        reported = self._book.noted("reported") or {"reasons": [], "failed_status": ""}
        why = "the job's time limit left no time for it" if is_late else not_deployed
        reasons = [f"The model was not deployed: {why}"] if why else []
        if ended_by in _WHOLE:
            secondary_status = reported["failed_status"] or secondary_status
        if not_deployed:
            secondary_status = "ModelDeploymentError"
        told = outcomes.partial_failure_reasons(self._book.candidates(), [*reasons, *reported["reasons"]])
        self._book.write(JobChanges(status=status, secondary_status=secondary_status, partial_failure_reasons=told))

    def _deployed(self, ended_by: EndedBy, given_up: str) -> tuple[EndedBy, str]:
        """Give what ended the job, and why its model is not deployed, or an empty text."""
        best = self._book.candidate(self._book.job.best_candidate or "")
        if best is None:
            raise RuntimeError("a job whose model is to be deployed has no best candidate")
        try:
            if given_up:
                self._deploying.give_up(given_up)
                return ended_by, ""
            ended = self._deploying.run(best)
        except DeploymentFailed as failure:
            return ended_by, str(failure)
        return ended_by if ended == "in service" else ended, ""

    def _objects(self) -> RoleObjects:
        return roles.objects_of_job(self._house, self._book.job.request["RoleArn"])

    def _is_time_up(self) -> bool:
        left = self._limits.job_seconds_left()
        return left is not None and left < reporting.LEAST_SECONDS

    def _leave_if_stopped(self) -> None:
        if self._keeper.stop_requested.is_set():
            raise Stopped

    def _try_again_or_fail(self, what: str) -> None:
        """Hand the job back, its work kept, for the disk or the object store may be there again soon; not for ever."""
        may_try_again = self._book.may_try_again()
        troubles = (self._book.noted("troubles") or 0) + 1
        logger.warning("job %s: trouble %d: %s", self._book.job.name, troubles, what)
        if not may_try_again:
            self._fail(f"The job was tried {troubles} times and did not get further: {what}.")
            return
        wait = TROUBLE_SECONDS * 4 ** (troubles - 1)
        self._book.note("troubles", troubles)
        self._book.event("trouble", f"{what}; the job is tried again in {wait:.0f} s", {"troubles": troubles})
        raise HandedBack(what, not_for_seconds=wait)

    def _ends_with_best(self, ended_by: EndedBy, reason: str) -> bool:
        """End a job that cannot go on with the best of what was trained whole; say whether there was any."""
        if ranking.best_of(self._book.candidates()) is None:
            return False
        self._book.close_candidates("Stopped" if ended_by == "stop" else "Failed", reason or "The job was stopped.")
        reported = Reported(artifacts={}, reasons=(reason,) if reason else (), failed_status="", is_cut_short=False)
        try:
            self._conclude(ended_by, reported)
            self._end(ended_by, reason)
        except (LeaseLost, HandedBack):
            raise
        except Unavailable as error:
            raise HandedBack(f"the database is away: {error}") from error
        except (OSError, GyropilotError):
            logger.exception("job %s: its best candidate could not be kept", self._book.job.name)
            return False
        return True

    def _fail(self, reason: str) -> None:
        if self._ends_with_best("finished", reason):
            return
        self._book.withdraw_model_data()
        try:
            publishing.withdraw(self._objects(), self._to_withdraw(), self._uri, before_each=self._book.check_lease)
        except LeaseLost:
            raise
        except (OSError, GyropilotError):
            logger.exception("job %s: artifacts could not be withdrawn", self._book.job.name)
        self._book.close_candidates("Failed", reason)
        self._book.write(JobChanges(status="Failed", failure_reason=reason[:1024]))

    def _to_withdraw(self) -> set[str]:
        """Give what a job without a model must not leave; what profile put whole says why there is none, and stays."""
        put = self._book.names_put()
        profile = self._book.output(profiling.PART)
        if profile is not None and profile.result is not None:
            put.pop(profiling.PART)
        return set().union(*put.values())


_WHOLE: tuple[EndedBy, ...] = ("finished", "most candidates")
_END_STATUSES: Mapping[EndedBy, tuple[Status, str]] = {
    "finished": ("Completed", "Completed"),
    "most candidates": ("Completed", "MaxCandidatesReached"),
    "job time limit": ("Completed", "MaxAutoMLJobRuntimeReached"),
    "stop": ("Stopped", "Stopped"),
}
