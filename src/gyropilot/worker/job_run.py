"""One job's walk through its phases; each phase can be run again after a crash at any moment.

Starting        pin the input objects, stage them
PreTraining     problem.profile in a child: reads and checks the data, once a job
TrainingModels  problem.train in a child, once a candidate; each one's artifacts are published; the manifest
DeployingModel  where the request asks for it: the best candidate becomes an endpoint (deploying.py)
end             the last status
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Mapping
from typing import Any

from gyropilot import clock
from gyropilot.control import deployments, roles
from gyropilot.control.house import House
from gyropilot.engine import trouble
from gyropilot.engine.engine import Engine
from gyropilot.errors import GyropilotError, LeaseLost, TrainingFailed, Unavailable
from gyropilot.problems import catalog, tasks
from gyropilot.problems.contract import ProfileTask
from gyropilot.store.job_logs import JobLog
from gyropilot.store.jobs import JobChanges, JobRecord
from gyropilot.store.leases import Lease
from gyropilot.store.role_objects import RoleObjects
from gyropilot.store.statuses import Status
from gyropilot.worker import outcomes, publishing, ranking, scratch, staging
from gyropilot.worker.candidate_runs import CandidateRuns, EndedBy, failure_reason
from gyropilot.worker.children import Call, Children, Share, Trouble, times
from gyropilot.worker.deploying import Deploying, DeploymentFailed
from gyropilot.worker.job_book import JobBook
from gyropilot.worker.lease_keeper import LeaseKeeper
from gyropilot.worker.patience import Patience
from gyropilot.worker.watching import HandedBack, Signals

Json = Any
logger = logging.getLogger(__name__)

TROUBLES_ALLOWED = 3
TROUBLE_SECONDS = 5.0
"""How long a job waits after its first trouble; after each that follows four times as long."""


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
        self._children = Children(
            engine,
            self._book,
            signals,
            share,
            scratch=self._folder / "child",
            log=self._log,
            deaths_allowed=house.settings.job_attempts,
        )
        self._candidates = CandidateRuns(house, self._book, self._children, signals, self._problem, self._folder)
        self._deploying = Deploying(house, self._book, signals, self._candidates.job_seconds_left)

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
        if given_up:
            raise TrainingFailed(given_up)
        self._start()
        has_begun_training = bool(self._book.candidates())  # then a stop keeps what was trained before an interruption
        if not has_begun_training:
            self._leave_if_stopped()
        profile = self._profiled()
        if not has_begun_training:
            self._leave_if_stopped()
        search = self._problem.open_search(self._problem.read_spec(self._book.job.spec), profile)
        self._book.enter(self._problem.train_status)
        ended_by = self._candidates.train_all(search, profile)
        self._conclude(ended_by)
        self._end(ended_by, "")

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

    def _start(self) -> None:
        if self._book.noted("inputs") is not None:
            self._book.event("resumed", "The job goes on after an interruption.")
            return
        self._book.write(JobChanges(started_at=clock.now()))
        inputs = staging.pin(self._house, self._book.job.request)
        self._book.note("inputs", inputs)
        self._book.event("inputs", f"Pinned input objects: {sum(map(len, inputs))}.", {"inputs": inputs})

    def _profiled(self) -> Mapping[str, Json]:
        prepared = self._folder / "prepared"
        kept: Mapping[str, Json] | None = self._book.noted("profile")
        if kept is not None and prepared.exists():
            return kept
        self._book.enter(self._problem.profile_status)
        inputs = self._folder / "inputs"
        channels = staging.fetch(self._house, self._book.job.request, self._book.noted("inputs"), inputs)
        prepared.mkdir(parents=True, exist_ok=True)
        task = ProfileTask(
            job_name=self._book.job.name,
            spec=self._book.job.spec,
            channels=channels,
            base_models=self._house.settings.base_models,
            prepared=prepared,
            output=scratch.emptied(self._folder / "output" / "profile"),
            output_uri=self._uri,
            cores=self._children.share.cores,
            memory_bytes=self._children.share.memory_bytes,
        )
        arguments = tasks.to_json(task)
        ending = self._children.run(
            self._problem.profile,
            lambda: Call(arguments=arguments, seconds_left=self._candidates.job_seconds_left()),
            what="profile",
            on_stop="kill",
        )
        self._leave_if_stopped()
        if ending.outcome != "result":
            raise TrainingFailed(failure_reason(ending))
        self._book.note("profile", ending.result)
        return dict(ending.result)

    def _conclude(self, ended_by: EndedBy) -> None:
        """Choose the best candidate and put the manifest: what was trained is whole then."""
        best = ranking.best_of(self._book.candidates())
        if best is None and ended_by == "stop":
            raise Stopped
        if best is None:
            raise TrainingFailed("The time limit ended the job before any model was trained; raise the limit.")
        self._book.note("put", [*self._book.noted("put"), publishing.MANIFEST])
        digest = publishing.publish_manifest(self._objects(), self._uri, self._book.noted("published"))
        named = self._book.noted("results")[best.name]["artifacts"]
        artifacts = {name: f"{self._uri}/{path}" for name, path in named.items()}
        artifacts |= {"output": self._uri, "manifest": f"{self._uri}/{publishing.MANIFEST}", "manifest_sha256": digest}
        self._book.write(JobChanges(best_candidate=best.name, artifacts=artifacts))
        if deployments.is_wanted(self._book.job.request):
            self._book.note("ended_by", ended_by)

    def _end(self, ended_by: EndedBy, given_up: str) -> None:
        """Deploy the best candidate where that is asked for, and write the last status.

        `given_up` says why what earlier runs tried is not tried again; empty: it is.
        """
        not_deployed = ""
        if deployments.is_wanted(self._book.job.request) and ended_by == "finished":
            ended_by, not_deployed = self._deployed(given_up)
        status, secondary_status = _END_STATUSES[ended_by]
        reasons = outcomes.partial_failure_reasons(self._book.candidates(), not_deployed)
        if not_deployed:
            secondary_status = "ModelDeploymentError"
        changes = JobChanges(status=status, secondary_status=secondary_status, partial_failure_reasons=reasons)
        self._book.write(changes)

    def _deployed(self, given_up: str) -> tuple[EndedBy, str]:
        """Give what ended the job, and why its model is not deployed, or an empty text."""
        best = self._book.candidate(self._book.job.best_candidate or "")
        if best is None:
            raise RuntimeError("a job whose model is to be deployed has no best candidate")
        try:
            if given_up:
                self._deploying.give_up(given_up)
                return "finished", ""
            ended = self._deploying.run(best)
        except DeploymentFailed as failure:
            return "finished", str(failure)
        return "finished" if ended == "in service" else ended, ""

    def _objects(self) -> RoleObjects:
        return roles.objects_of_job(self._house, self._book.job.request["RoleArn"])

    def _leave_if_stopped(self) -> None:
        if self._keeper.stop_requested.is_set():
            raise Stopped

    def _try_again_or_fail(self, what: str) -> None:
        """Hand the job back, its work kept, for the disk or the object store may be there again soon; not for ever."""
        troubles = (self._book.noted("troubles") or 0) + 1
        logger.warning("job %s: trouble %d: %s", self._book.job.name, troubles, what)
        if troubles >= TROUBLES_ALLOWED:
            self._fail(f"The job was tried {troubles} times and did not get further: {what}.")
            return
        wait = TROUBLE_SECONDS * 4 ** (troubles - 1)
        self._book.note("troubles", troubles)
        self._book.event("trouble", f"{what}; the job is tried again in {wait:.0f} s", {"troubles": troubles})
        raise HandedBack(what, not_for_seconds=wait)

    def _fail(self, reason: str) -> None:
        self._book.withdraw_model_data()
        try:
            put = self._book.noted("put") or []
            publishing.withdraw(self._objects(), put, self._uri, before_each=self._book.check_lease)
        except LeaseLost:
            raise
        except (OSError, GyropilotError):
            logger.exception("job %s: artifacts could not be withdrawn", self._book.job.name)
        self._book.close_candidates("Failed", reason)
        self._book.write(JobChanges(status="Failed", failure_reason=reason[:1024]))


_END_STATUSES: Mapping[EndedBy, tuple[Status, str]] = {
    "finished": ("Completed", "Completed"),
    "job time limit": ("Completed", "MaxAutoMLJobRuntimeReached"),
    "stop": ("Stopped", "Stopped"),
}
