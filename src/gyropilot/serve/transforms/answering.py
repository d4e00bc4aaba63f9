"""The replicas of one transform job: each a process of its own with the model in it, started again when it ends.

A call that its replica did not survive is tried again alone: so no record is blamed for what its neighbour did.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gyropilot import clock
from gyropilot.control.transform_plans import TransformPlan
from gyropilot.engine import trouble
from gyropilot.errors import GyropilotError
from gyropilot.serve.replicas import calls as replica_calls
from gyropilot.serve.replicas.calls import Refusal
from gyropilot.serve.replicas.client import (
    AnswerTooLong,
    ReplicaAnswer,
    ReplicaBroke,
    ReplicaCall,
    ReplicaClient,
    ReplicaUnreachable,
)
from gyropilot.serve.replicas.endpoint_replicas import Patience
from gyropilot.serve.replicas.held_processes import HeldProcesses
from gyropilot.serve.replicas.process import ReplicaProcess

Json = Any
Say = Callable[[str], None]
Containers = Sequence[tuple[Path, Mapping[str, str]]]

STARTUP_SECONDS = 600.0
"""How long a replica may take until its model is loaded."""
_MODEL = "model"
_BUSY_SECONDS = 0.2
_DEATH_SECONDS = 5.0


class NoAnswer(Exception):
    """The model gave no answer to a payload, however often it was asked; the message says what it said last."""


class NoReplica(Exception):
    """The model cannot be started; the message says why."""


class Answering:
    """Asks the replicas of one job; used in one event loop."""

    def __init__(
        self,
        plan: TransformPlan,
        name: str,
        key: str,
        problem: str,
        containers: Containers,
        processes: HeldProcesses,
        log: Callable[[bytes], None],
        say: Say,
        patience: Patience,
    ) -> None:
        self._plan, self._name = plan, name
        self._gate = _Gate()
        self._seats = [
            _Seat(f"{key} {number}", number, problem, containers, processes, log, say, patience)
            for number in range(plan.replicas)
        ]

    async def start(self) -> None:
        """Start every replica.

        Raises:
            NoReplica: one cannot be started.
        """
        await asyncio.gather(*(seat.replica() for seat in self._seats))

    async def ask(self, body: bytes) -> ReplicaAnswer:
        """Give the model's answer to a payload, asked again as often as the job allows.

        Raises:
            NoAnswer: it refused the payload, or failed on it each time.
            NoReplica: there is no replica any more.
        """
        call = ReplicaCall(
            body=body, content_type=self._plan.content_type, accept=self._plan.accept, model_name=self._name
        )
        has_broken, said = False, ""
        for attempt in range(self._plan.retries + 1):
            async with self._gate.alone() if has_broken else self._gate.together():
                outcome = await self._asked(call)
            if isinstance(outcome, ReplicaAnswer):
                if outcome.status == 200:
                    return outcome
                said = f"the model refused it with status {outcome.status}: {outcome.error}"
                if outcome.status < 500:
                    raise NoAnswer(said)
                await asyncio.sleep(_BUSY_SECONDS * 2**attempt if outcome.status == 503 else 0)
            else:
                has_broken, said = True, outcome
        raise NoAnswer(said if not self._plan.retries else f"{said} (asked {self._plan.retries + 1} times)")

    async def close(self) -> None:
        """End the replicas; returns before they have ended."""
        await asyncio.gather(*(seat.close() for seat in self._seats))

    async def _asked(self, call: ReplicaCall) -> ReplicaAnswer | str:
        """Give the answer, or in words why there is none; raises NoAnswer where asking again is in vain."""
        seat = min(self._seats, key=lambda one: one.calls)
        seat.calls += 1
        try:
            replica = await seat.replica()
            try:
                async with asyncio.timeout(self._plan.timeout_seconds):
                    return await replica.client.invoke(_MODEL, call)
            except TimeoutError:
                return f"the model did not answer within {self._plan.timeout_seconds} s"
            except AnswerTooLong as error:
                raise NoAnswer(str(error)) from error
            except (ReplicaBroke, ReplicaUnreachable) as error:
                return f"its replica ended on it: {await seat.end_of(replica.process) or error}"
        finally:
            seat.calls -= 1


@dataclass(frozen=True, kw_only=True)
class _Replica:
    """A process that has the model loaded."""

    process: ReplicaProcess
    client: ReplicaClient


class _Seat:
    """A place for one replica; filled again when its process has ended."""

    def __init__(
        self,
        key: str,
        number: int,
        problem: str,
        containers: Containers,
        processes: HeldProcesses,
        log: Callable[[bytes], None],
        say: Say,
        patience: Patience,
    ) -> None:
        self.calls = 0
        self._key, self._text, self._problem = key, f"replica {number}", problem
        self._containers, self._processes, self._log, self._say = containers, processes, log, say
        self._patience = patience
        self._over = asyncio.Event()
        self._process: ReplicaProcess | None = None
        self._start: asyncio.Task[_Replica] | None = None

    async def replica(self) -> _Replica:
        """Give a replica that has the model loaded, started if there is none; the start outlives who asked for it."""
        ended = self._ended()
        if ended is not None and self._start is not None:
            self._start.result().client.drop()
            self._say(f"{self._text} ended: {ended.described_end(self._processes.room.memory_bytes)}")
        if self._start is None or ended is not None:
            self._start = asyncio.create_task(self._started())
        return await asyncio.shield(self._start)

    async def end_of(self, process: ReplicaProcess) -> str:
        """Say why a process ended; empty where it lives on."""
        await asyncio.to_thread(process.wait_until_ended, seconds=_DEATH_SECONDS)
        return process.described_end(self._processes.room.memory_bytes)

    async def close(self) -> None:
        """Let go of the process, and start no other one."""
        self._over.set()
        if self._process is not None and self._start is not None and not self._start.done():
            self._process.kill("nobody waits for what it loads")
        self._let_go()
        if self._start is not None:
            (replica,) = await asyncio.gather(self._start, return_exceptions=True)
            if isinstance(replica, _Replica):
                await replica.client.close()

    def _ended(self) -> ReplicaProcess | None:
        """Give the process that was started and has ended; None where there is none."""
        if self._start is None or not self._start.done() or self._start.exception() is not None:
            return None
        process = self._start.result().process
        return None if process.ending is None else process

    def _let_go(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            self._processes.give_back(self._key, self._key, process)

    async def _started(self) -> _Replica:
        """Raises NoReplica where it is tried in vain."""
        reason = ""
        for attempt in range(1, self._patience.attempts + 1):
            self._let_go()
            began_at = clock.monotonic()
            self._say(f"{self._text} starts{' again' if attempt > 1 else ''}")
            try:
                process = await asyncio.to_thread(self._load)
            except Refusal as error:
                reason = await self._refusal(error)
                if error.status and error.status < 500:
                    raise NoReplica(reason) from error
            except (GyropilotError, OSError) as error:
                reason = str(error) if isinstance(error, GyropilotError) else trouble.told(error)
            else:
                self._say(f"{self._text} is ready, {clock.monotonic() - began_at:.1f} s after its start")
                return _Replica(process=process, client=ReplicaClient(str(process.socket)))
            if self._over.is_set():
                break
            self._say(f"{self._text} could not be started: {reason}")
            if attempt < self._patience.attempts and await self._is_over_within(self._patience.after_failures(attempt)):
                break
        raise NoReplica(reason)

    async def _is_over_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), seconds)
        return self._over.is_set()

    def _load(self) -> ReplicaProcess:
        process = self._process = self._processes.take(self._key, self._key, self._problem, self._log)
        if self._over.is_set():  # closed while this thread was on its way
            self._let_go()
        if not process.wait_until_up(seconds=STARTUP_SECONDS):
            raise Refusal("its process took no calls", status=0)
        replica_calls.load(process.socket, _MODEL, self._containers, seconds=STARTUP_SECONDS)
        return process

    async def _refusal(self, error: Refusal) -> str:
        process = self._process
        return (await self.end_of(process) if error.status == 0 and process is not None else "") or str(error)


class _Gate:
    """Lets calls in together, or one alone."""

    def __init__(self) -> None:
        self._condition = asyncio.Condition()
        self._inside = 0
        self._alone_wanted = 0

    @asynccontextmanager
    async def together(self) -> AsyncIterator[None]:
        """Be inside beside others, but not beside one that is alone."""
        async with self._condition:
            await self._condition.wait_for(lambda: not self._alone_wanted)
            self._inside += 1
        try:
            yield
        finally:
            await self._leave()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Be inside with nobody else; who wants this goes before those who go together."""
        async with self._condition:
            self._alone_wanted += 1
            try:
                await self._condition.wait_for(lambda: not self._inside)
            except BaseException:
                self._alone_wanted -= 1
                self._condition.notify_all()
                raise
            self._inside += 1
        try:
            yield
        finally:
            self._alone_wanted -= 1
            await self._leave()

    async def _leave(self) -> None:
        async with self._condition:
            self._inside -= 1
            self._condition.notify_all()
