"""One replica of a variant: a model that is to be loaded in some process, for as long as the supervisor wants it.

    waiting --begin--> starting --loaded--> up --process ended--> waiting ...        any --leave--> leaving --> gone
                          |
                          +-- failed --> waiting, longer each time

Fetching, starting, loading and unloading take their time in threads; `look` sees what came of them.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gyropilot import clock, names
from gyropilot.engine import trouble
from gyropilot.errors import GyropilotError, LimitExceeded, Unavailable
from gyropilot.log import printable
from gyropilot.serve.replicas import calls as replica_calls
from gyropilot.serve.replicas.calls import Refusal
from gyropilot.serve.replicas.held_processes import HeldProcesses
from gyropilot.serve.replicas.model_files import ModelFiles
from gyropilot.serve.replicas.process import ReplicaProcess
from gyropilot.store.job_logs import JobLog
from gyropilot.store.replicas import ReplicaRecord, ReplicaStatus

logger = logging.getLogger(__name__)

Json = Any
State = Literal["waiting", "starting", "up", "leaving", "gone"]

SWITCH_SECONDS = 0.3
"""How long a router may take to use what it has read: until then a model that is to go takes calls."""
_SETTLED_SECONDS = 10.0
"""A replica that was up this long and ends is no part of a series of deaths."""
_UP_LOOK_SECONDS = 0.2
_ENDING_SECONDS = 10.0
"""How long a process whose connection broke may take until it has ended."""
_NOT_THERE = 404
_LONGEST_REASON = 900
_OVERDUE = (
    "it was not ready {:g} s after its start; give it longer by ContainerStartupHealthCheckTimeoutInSeconds of the "
    "variant, or serve a smaller model"
)
_FLAPPING = "it came up and ended again and again, and {:g} s after its first start still did: {}"


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How often and how soon something that failed is tried again."""

    attempts: int = 5
    """Starts that may fail in a row before a replica counts as one that cannot be started."""
    first_seconds: float = 1.0
    """The wait after the first failure; each one after it is twice as long."""
    longest_seconds: float = 60.0
    quick_deaths: int = 3
    """Deaths soon after being up, in a row, that are followed by a start at once."""

    def after_failures(self, count: int) -> float:
        """Give how many seconds to wait after so many failed starts in a row."""
        return float(min(self.longest_seconds, self.first_seconds * 2.0 ** min(count - 1, 16)))

    def after_deaths(self, count: int) -> float:
        """Give how many seconds to wait after so many deaths soon after being up, in a row."""
        if count <= self.quick_deaths:
            return 0.0
        return float(min(5.0, self.longest_seconds, self.first_seconds / 2 * 2.0 ** min(count - self.quick_deaths, 16)))


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a replica belongs."""

    endpoint_id: str
    endpoint_name: str
    account_id: str
    variant: Mapping[str, Json]
    number: int

    @property
    def text(self) -> str:
        """Variant and number, as logs name them."""
        return f"{self.variant['name']}/{self.number}"

    @property
    def model(self) -> Mapping[str, Json]:
        """The snapshot of its model."""
        model: Mapping[str, Json] = self.variant["model"]
        return model


@dataclass(frozen=True, kw_only=True)
class _Failure:
    reason: str
    is_final: bool
    """To try again would not help."""


class Replica:
    """Used by the supervisor's thread alone; what its own threads write is one value each."""

    def __init__(
        self, place: Place, processes: HeldProcesses, files: ModelFiles, log: JobLog, patience: Patience
    ) -> None:
        self.id = names.new_id()
        self.place = place
        self.state: State = "waiting"
        self.restarts = 0
        self.reason: str | None = None
        """Why it failed, or was started again; None: neither."""
        self.gave_up: str | None = None
        """Why it counts as one that cannot be started; it is tried all the same while it is wanted."""
        self.written: ReplicaRecord | None = None
        """What the store has of it."""
        self._processes, self._files, self._log, self._patience = processes, files, log, patience
        self._key = _process_key(place, self.id)
        self._process: ReplicaProcess | None = None
        self._model = ""
        """What its process knows the model by: another name each time, since a load that was given up may go on."""
        self._drain_seconds = 0.0
        self._outcome: ReplicaProcess | _Failure | None = None
        self._is_loaded = False
        self._failures, self._deaths = 0, 0
        self._not_before = self._up_at = clock.monotonic()
        self._begun_at: float | None = None
        self._unsettled_since: float | None = None
        """Its first start since it was last in service; None: it has been in service since its last start."""
        self._thread: threading.Thread | None = None
        self._files.hold(place.model)

    def settle(self) -> None:
        """Take it as in service: what it took to come there counts no more."""
        if self.state == "up":
            self._unsettled_since, self.gave_up = None, None

    def look(self) -> None:
        """See what came about, and begin what is due."""
        if self.state == "starting" and self._thread is not None and not self._thread.is_alive():
            self._see_outcome()
        if self.state == "up" and self._process is not None and self._process.ending is not None:
            self._see_death(self._process)
        if self.state == "waiting" and clock.monotonic() >= self._not_before:
            self._begin()
        if self.state == "leaving" and (self._thread is None or not self._thread.is_alive()):
            self._finish_leaving()

    def leave(self, *, drain_seconds: float) -> None:
        """Unload, once the calls inside have ended, or after so many seconds; the router must have been told."""
        if self.state in {"leaving", "gone"}:
            return
        self._drain_seconds = drain_seconds
        was, self.state = self.state, "leaving"
        if was == "up":
            self.say("takes no more calls and is unloaded")
            self._begin_unloading()
        elif was == "starting":
            threading.Thread(target=self._give_up_start, name=f"give up {self.place.text}", daemon=True).start()

    def record(self, generation: int, *, is_serving: bool) -> ReplicaRecord:
        """Give what the router may know of it."""
        return ReplicaRecord(
            id=self.id,
            endpoint_id=self.place.endpoint_id,
            generation=generation,
            variant=self.place.variant["name"],
            number=self.place.number,
            status=self._status(is_serving=is_serving),
            socket=str(self._process.socket) if self._process is not None else "",
            model=self._model,
            restarts=self.restarts,
            reason=self.reason,
        )

    def say(self, what: str) -> None:
        """Write a line into the endpoint's log and the service's."""
        line = printable(f"replica {self.place.text}: {what}").replace("\n", "\\n")
        logger.info("endpoint %s: %s", self.place.endpoint_name, line)
        self._log.write(f"{clock.now():%Y-%m-%dT%H:%M:%SZ} gyropilot: {line}\n".encode())

    def _status(self, *, is_serving: bool) -> ReplicaStatus:
        if self.state in {"leaving", "gone"}:
            return "Draining"
        if self.state == "up":
            return "Ready" if is_serving else "Starting"
        return "Failed" if self.state == "waiting" and self._failures else "Starting"

    def _begin(self) -> None:
        self.state, self._outcome, self._model = "starting", None, names.new_id()
        if self._begun_at is None:
            self._begun_at = clock.monotonic()
        if self._unsettled_since is None:
            self._unsettled_since = self._begun_at
        self.say("starts" if not (self.restarts or self._failures) else "starts again")
        self._thread = threading.Thread(target=self._bring_up, name=f"start {self.place.text}", daemon=True)
        self._thread.start()

    def _see_outcome(self) -> None:
        outcome = self._outcome
        if isinstance(outcome, ReplicaProcess):
            self.say(f"is ready, {clock.monotonic() - (self._begun_at or 0.0):.1f} s after its start")
            self.state, self._up_at = "up", clock.monotonic()
            self._failures, self._begun_at = 0, None
            return
        failure = outcome or _Failure(reason="its start broke; the service's log has the whole of it", is_final=False)
        self._let_go()
        self._failures += 1
        wait = self._patience.after_failures(self._failures)
        self.state, self.reason, self._not_before = "waiting", failure.reason, clock.monotonic() + wait
        overdue = clock.monotonic() - (self._begun_at or 0.0) >= self.place.variant["startup_seconds"]
        if failure.is_final or overdue or self._failures >= self._patience.attempts:
            self.gave_up = failure.reason
        self.say(f"could not be started: {failure.reason}")

    def _see_death(self, process: ReplicaProcess) -> None:
        self.reason = _shortened(process.described_end(self._processes.room.memory_bytes))
        self._let_go()
        self._deaths = self._deaths + 1 if clock.monotonic() - self._up_at < _SETTLED_SECONDS else 1
        self.restarts += 1
        self.state, self._not_before = "waiting", clock.monotonic() + self._patience.after_deaths(self._deaths)
        self.say(f"ended: {self.reason}")
        longest = float(self.place.variant["startup_seconds"] + self.place.variant["download_seconds"])
        if self._unsettled_since is not None and clock.monotonic() - self._unsettled_since > longest:
            self.gave_up = _shortened(_FLAPPING.format(longest, self.reason))

    def _begin_unloading(self) -> None:
        self._is_loaded = False
        self._thread = threading.Thread(target=self._unload, name=f"unload {self.place.text}", daemon=True)
        self._thread.start()

    def _let_go(self) -> None:
        self._is_loaded = False
        process, self._process = self._process, None
        if process is not None:
            self._processes.give_back(self._key, self.id, process)

    def _finish_leaving(self) -> None:
        if self._is_loaded:  # just as it was told to leave
            self._begin_unloading()
            return
        self._let_go()
        self._files.release(self.place.model)
        self.state = "gone"
        self.say("is gone")

    def _bring_up(self) -> None:
        try:
            self._outcome = self._loaded()
        except Refusal as error:
            self._outcome = self._refused(error)
        except Exception as error:
            self._outcome = _judged(error)
            if not isinstance(error, GyropilotError | OSError):
                logger.exception("endpoint %s: replica %s", self.place.endpoint_name, self.place.text)

    def _loaded(self) -> ReplicaProcess:
        """Fetch, start and load; `_process` is set as soon as there is one."""
        model, seconds = self.place.model, float(self.place.variant["startup_seconds"])
        download_seconds = float(self.place.variant["download_seconds"])
        containers = self._files.fetch(model, seconds=download_seconds, check_wanted=self._check_wanted)
        self._check_wanted()
        process = self._process = self._processes.take(self._key, self.id, model["problem"], self._log.write)
        began_at = clock.monotonic()
        while not process.wait_until_up(seconds=_UP_LOOK_SECONDS):
            self._check_wanted()
            is_overdue = clock.monotonic() - began_at > seconds
            if is_overdue or process.ending is not None:
                raise Refusal(_OVERDUE.format(seconds), status=0, is_overdue=process.ending is None)
        left = max(1.0, seconds - (clock.monotonic() - began_at))
        replica_calls.load(process.socket, self._model, containers, seconds=left)
        self._is_loaded = True
        return process

    def _check_wanted(self) -> None:
        if self.state == "leaving":
            raise Unavailable("it is not wanted any more")

    def _give_up_start(self) -> None:
        """Nobody waits for what it loads."""
        thread = self._thread
        while thread is not None and thread.is_alive():
            process = self._process
            if process is not None and self._processes.holders(self._key) == 1:
                process.kill("it is not wanted any more")
            elif process is not None:
                with contextlib.suppress(Refusal):  # its load is yet to come: the next time
                    replica_calls.unload(process.socket, self._model, seconds=replica_calls.PING_SECONDS)
            thread.join(_UP_LOOK_SECONDS)

    def _refused(self, error: Refusal) -> _Failure:
        process = self._process
        if process is not None and error.is_overdue:
            if self._processes.holders(self._key) == 1:
                process.kill("its model took too long to load")
            return _Failure(reason=_OVERDUE.format(self.place.variant["startup_seconds"]), is_final=False)
        if error.status or process is None or self.state == "leaving":
            return _Failure(reason=_shortened(str(error)), is_final=400 <= error.status < 500)
        if not process.wait_until_ended(seconds=_ENDING_SECONDS):
            return _Failure(reason=_shortened(str(error)), is_final=False)
        ending = process.ending
        has_said = ending is not None and ending.outcome == "failure" and ending.error != "InternalFailure"
        is_final = ending is not None and (ending.is_out_of_memory or has_said)
        reason = process.described_end(self._processes.room.memory_bytes)
        return _Failure(reason=_shortened(reason), is_final=is_final)

    def _unload(self) -> None:
        process = self._process
        if process is None:
            return
        clock.sleep(SWITCH_SECONDS)
        try:
            replica_calls.unload(process.socket, self._model, seconds=self._drain_seconds)
        except Refusal as error:
            if process.ending is None and error.status != _NOT_THERE:
                logger.warning("replica %s: not unloaded: %s", self.place.text, error)


def _judged(error: Exception) -> _Failure:
    if isinstance(error, GyropilotError):
        return _Failure(reason=_shortened(str(error)), is_final=not isinstance(error, Unavailable | LimitExceeded))
    if trouble.may_pass(error):
        return _Failure(reason=_shortened(trouble.told(error)), is_final=False)
    reason = f"an unexpected {type(error).__name__} ended its start; the service's log has the whole of it"
    return _Failure(reason=reason, is_final=False)


def _process_key(place: Place, replica_id: str) -> str:
    """Give what its process is for: models that share, or this replica alone."""
    model = place.model
    if not model["shares"] or len(model["containers"]) > 1:
        return replica_id
    return f"{place.account_id} {model['problem']} {model['shares']} {place.number}"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_REASON else text[: _LONGEST_REASON - 3] + "..."
