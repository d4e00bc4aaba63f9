"""The DeployingModel phase of a job: its best candidate becomes an endpoint, and the job waits until that answers.

Every step is noted in the job's state before or after it is made, so that a later run goes on from there. Whatever
goes wrong ends the deployment alone: the job has its model, and says in PartialFailureReasons why it is not served.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from gyropilot import clock
from gyropilot.control import deployments
from gyropilot.control.deployments import Deployment
from gyropilot.control.house import House
from gyropilot.engine import trouble
from gyropilot.errors import GyropilotError, LeaseLost, Unavailable
from gyropilot.store import replicas
from gyropilot.store.candidates import CandidateRecord
from gyropilot.store.endpoints import EndpointRecord
from gyropilot.worker.job_book import JobBook
from gyropilot.worker.watching import HandedBack, Signals

logger = logging.getLogger(__name__)

PHASE = "DeployingModel"
UNSERVED_TOLD_SECONDS = 10.0
UNSERVED_SECONDS = 300.0
"""How long an endpoint may wait for a process that serves."""
LONGEST_SECONDS = 2.0 * deployments.STARTUP_SECONDS + UNSERVED_SECONDS

_POLL_SECONDS = 0.25
_NOTED = "deployment"
_UNSERVED = "no process serves endpoints: run `gyropilot up`, or `gyropilot serve` beside the workers"

Ended = Literal["in service", "stop", "job time limit"]


class DeploymentFailed(Exception):
    """The model could not be deployed; the message is fit for PartialFailureReasons."""


class Deploying:
    """The phase for one job."""

    def __init__(self, house: House, book: JobBook, signals: Signals, seconds_left: Callable[[], float | None]) -> None:
        """Take what the phase works with; `seconds_left` gives how long the job may still take, None: no bound."""
        self._house, self._book, self._signals, self._seconds_left = house, book, signals, seconds_left
        self._began_at = self._last_served_at = 0.0
        self._is_told_unserved = False

    def run(self, candidate: CandidateRecord) -> Ended:
        """Deploy a candidate, unless Stop or the job's time limit come first: then what was made is removed.

        Raises:
            DeploymentFailed: it cannot be served; an endpoint that Failed is left to be looked at.
            LeaseLost: another worker owns the job.
            HandedBack: the service goes down; a later run goes on.
        """
        try:
            return self._run(candidate)
        except (LeaseLost, HandedBack, Unavailable):
            raise
        except DeploymentFailed as failure:
            self._fail(str(failure))
            raise
        except GyropilotError as error:
            self._fail(str(error))
            raise DeploymentFailed(str(error)) from error
        except Exception as error:
            logger.exception("job %s: the deployment failed", self._book.job.name)
            told = trouble.told(error) if trouble.may_pass(error) else "InternalFailure: an error of this service"
            self._fail(told)
            raise DeploymentFailed(told) from error

    def give_up(self, reason: str) -> None:
        """End a deployment that earlier runs began and none could see to its end; an endpoint that answers stays.

        Raises:
            DeploymentFailed: with the reason; what was made is removed.
        """
        deployment = deployments.read(self._book.noted(_NOTED))
        endpoint = None if deployment is None else deployments.endpoint_of(self._house, deployment)
        if deployment is not None and endpoint is not None and endpoint.status == "InService":
            self._note(replace(deployment, is_in_service=True))
            self._book.event("deployed", f"The endpoint {deployment.endpoint_name} is in service.")
            return
        if deployment is not None:
            deployments.take_away(self._house, self._book.job, deployment)
        self._fail(reason)
        raise DeploymentFailed(reason)

    def _run(self, candidate: CandidateRecord) -> Ended:
        if ended := self._ended_early():
            return ended
        self._book.enter(PHASE)
        deployment = self._made(candidate)
        self._began_at = self._last_served_at = clock.monotonic()
        while True:
            if ended := self._ended_early():
                return ended
            if self._is_in_service(deployment):
                self._note(replace(deployment, is_in_service=True))
                self._book.event("deployed", f"The endpoint {deployment.endpoint_name} is in service.")
                return "in service"
            self._wait()

    def _made(self, candidate: CandidateRecord) -> Deployment:
        """Make model, configuration and endpoint, as far as an earlier run did not."""
        deployment = deployments.read(self._book.noted(_NOTED))
        if deployment is not None and deployment.endpoint_id:
            return deployment
        job = self._book.job
        if deployment is None:
            deployment = self._note(deployments.planned(job, candidate))
        deployment = self._note(deployments.make_model(self._house, job, candidate, deployment))
        deployment = self._note(deployments.make_config(self._house, job, deployment))
        deployment = self._note(deployments.make_endpoint(self._house, job, deployment))
        told = f"The model {deployment.model_name} is being deployed to the endpoint {deployment.endpoint_name}."
        self._book.event("deploying", told, deployment.to_json())
        return deployment

    def _is_in_service(self, deployment: Deployment) -> bool:
        endpoint = deployments.endpoint_of(self._house, deployment)
        if endpoint is None or endpoint.status == "Deleting":
            raise DeploymentFailed(f"The endpoint {deployment.endpoint_name} was deleted while it was being deployed.")
        if endpoint.status == "Failed":
            raise DeploymentFailed(
                f"The endpoint {endpoint.name} could not be started: {endpoint.failure_reason} Its log has more;"
                " delete it before you use its name again."
            )
        if endpoint.status != "Creating":
            return True
        self._check_served(endpoint)
        return False

    def _check_served(self, endpoint: EndpointRecord) -> None:
        """Tell where nothing starts the endpoint's replicas, and give it up after a while."""
        there = replicas.of_endpoint(self._house.db, endpoint.id)
        now = clock.monotonic()
        if there:
            self._last_served_at = now
            ready = sum(one.status == "Ready" for one in there)
            told = {"phase": "deploying", "done": ready, "total": len(there), "unit": "replicas", "values": {}}
            self._book.progress(told)
        unserved = now - self._last_served_at
        if unserved >= UNSERVED_SECONDS or now - self._began_at >= LONGEST_SECONDS:
            deployments.take_away(self._house, self._book.job, self._deployment())
            waited = now - (self._last_served_at if unserved >= UNSERVED_SECONDS else self._began_at)
            why = _UNSERVED if unserved >= UNSERVED_SECONDS else "its replica did not become ready"
            raise DeploymentFailed(
                f"The endpoint {endpoint.name} was not in service after {waited:.0f} s and was taken away: {why}."
            )
        if unserved >= UNSERVED_TOLD_SECONDS and not self._is_told_unserved:
            self._is_told_unserved = True
            self._book.event("unserved", f"The endpoint {endpoint.name} waits: {_UNSERVED}.")

    def _ended_early(self) -> Ended | None:
        """Give what ends the phase before the endpoint answers; what was made is removed then."""
        if self._signals.lease_lost.is_set():
            raise LeaseLost("the job's lease went to another worker")
        if self._signals.going_down.is_set():
            raise HandedBack("the service is going down")
        left = self._seconds_left()
        if self._signals.stop_requested.is_set():
            self._withdraw("The job was stopped")
            return "stop"
        if left is not None and left <= 0:
            self._withdraw("The job's time limit was reached")
            return "job time limit"
        return None

    def _withdraw(self, why: str) -> None:
        deployment = deployments.read(self._book.noted(_NOTED))
        if deployment is None:
            self._book.event("not_deployed", f"{why} before the model was deployed.")
            return
        self._book.check_lease()
        deployments.take_away(self._house, self._book.job, deployment)
        told = f"{why} while the model was being deployed; what was made of the endpoint is removed."
        self._book.event("not_deployed", told, deployment.to_json())

    def _fail(self, reason: str) -> None:
        deployment = deployments.read(self._book.noted(_NOTED))
        if deployment is not None:
            self._note(replace(deployment, has_failed=True))
        self._book.event("deployment_failed", f"The model was not deployed: {reason}")

    def _note(self, deployment: Deployment) -> Deployment:
        if deployment.to_json() != self._book.noted(_NOTED):
            self._book.note(_NOTED, deployment.to_json())
        return deployment

    def _deployment(self) -> Deployment:
        deployment = deployments.read(self._book.noted(_NOTED))
        if deployment is None:
            raise RuntimeError("nothing is being deployed")
        return deployment

    def _wait(self) -> None:
        self._book.heartbeat()
        self._signals.going_down.wait(_POLL_SECONDS)
