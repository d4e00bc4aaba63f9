"""The replicas of one transform job: each a process of its own with the model in it, started again when it ends.

A call that its replica did not survive is tried again alone: so no record is blamed for what its neighbour did.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gyropilot import clock
from gyropilot.control.transform_plans import TransformPlan
from gyropilot.errors import GyropilotError
from gyropilot.serve import replica_calls
from gyropilot.serve.held_processes import HeldProcesses
from gyropilot.serve.replica_calls import Refusal
from gyropilot.serve.replica_client import (
    ReplicaAnswer,
    ReplicaBroke,
    ReplicaCall,
    ReplicaClient,
    ReplicaUnreachable,
)
from gyropilot.serve.replica_process import ReplicaProcess
from gyropilot.serve.replicas import Patience

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
            _Seat(f"transform {name} {number}", number, problem, containers, processes, log, say, patience)
            for number in range(plan.replicas)
        ]

    async def start(self) -> None:
        """Start every replica.

        Raises:
            NoReplica: one cannot be started.
        """
        await asyncio.gather(*(seat.client() for seat in self._seats))

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
        for seat in self._seats:
            seat.is_over = True
            await seat.close()

    async def _asked(self, call: ReplicaCall) -> ReplicaAnswer | str:
        """Give the answer, or in words why there is none."""
        seat = min(self._seats, key=lambda one: one.calls)
        seat.calls += 1
        try:
            client = await seat.client()
            async with asyncio.timeout(self._plan.timeout_seconds):
                return await client.invoke(_MODEL, call)
        except TimeoutError:
            return f"the model did not answer within {self._plan.timeout_seconds} s"
        except (ReplicaBroke, ReplicaUnreachable) as error:
            return f"its replica ended on it: {await seat.end_of_process() or error}"
        finally:
            seat.calls -= 1


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
        self.is_over = False
        self._key, self._text, self._problem = key, f"replica {number}", problem
        self._containers, self._processes, self._log, self._say = containers, processes, log, say
        self._patience = patience
        self._process: ReplicaProcess | None = None
        self._client: ReplicaClient | None = None
        self._starting = asyncio.Lock()

    async def client(self) -> ReplicaClient:
        """Give the client of a process that has the model loaded, started if there is none."""
        async with self._starting:
            if self._client is None or self._process is None or self._process.ending is not None:
                await self.close()
                self._client = await self._started()
            return self._client

    async def end_of_process(self) -> str:
        """Say why the process ended; empty where it lives on."""
        process = self._process
        if process is None:
            return ""
        await asyncio.to_thread(process.wait_until_ended, seconds=_DEATH_SECONDS)
        return process.described_end(self._processes.room.memory_bytes)

    async def close(self) -> None:
        """Let go of the process."""
        client, self._client = self._client, None
        process, self._process = self._process, None
        if client is not None:
            await client.close()
        if process is not None:
            self._processes.give_back(self._key, self._key, process)

    async def _started(self) -> ReplicaClient:
        reason = ""
        for attempt in range(1, self._patience.attempts + 1):
            began_at = clock.monotonic()
            self._say(f"{self._text} starts{' again' if attempt > 1 else ''}")
            try:
                process = await asyncio.to_thread(self._load)
            except Refusal as error:
                reason = await self._refusal(error)
                if error.status and error.status < 500:
                    raise NoReplica(reason) from error
            except (GyropilotError, OSError) as error:
                reason = str(error)
            else:
                self._say(f"{self._text} is ready, {clock.monotonic() - began_at:.1f} s after its start")
                return ReplicaClient(str(process.socket))
            self._say(f"{self._text} could not be started: {reason}")
            await self.close()
            if attempt < self._patience.attempts:
                await asyncio.sleep(self._patience.after_failures(attempt))
        raise NoReplica(reason)

    def _load(self) -> ReplicaProcess:
        process = self._process = self._processes.take(self._key, self._key, self._problem, self._log)
        if self.is_over:  # closed while this thread was on its way
            self._processes.give_back(self._key, self._key, process)
        if not process.wait_until_up(seconds=STARTUP_SECONDS):
            raise Refusal("its process took no calls", status=0)
        replica_calls.load(process.socket, _MODEL, self._containers, seconds=STARTUP_SECONDS)
        return process

    async def _refusal(self, error: Refusal) -> str:
        return (await self.end_of_process() if error.status == 0 else "") or str(error)


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
