"""Runs a problem's functions in children for one job; a child that dies is started again from its last checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gyropilot.engine.engine import Ending, Engine, Message, Task
from gyropilot.store.job_logs import JobLog
from gyropilot.worker import watching
from gyropilot.worker.job_book import JobBook
from gyropilot.worker.watching import OnStop, Signals

Json = Any


@dataclass(frozen=True, kw_only=True)
class Share:
    """What of the machine one job may use."""

    cores: int
    memory_bytes: int


@dataclass(frozen=True, kw_only=True)
class Call:
    """What one child is started with."""

    arguments: Json
    seconds_left: float | None
    """None: no bound."""


class Trouble(Exception):
    """A step failed for want of what may be there again soon: space, the object store."""


class Children:
    """The children of one job, one at a time."""

    def __init__(
        self,
        engine: Engine,
        book: JobBook,
        signals: Signals,
        share: Share,
        *,
        scratch: Path,
        log: JobLog,
        deaths_allowed: int,
    ) -> None:
        self.share = share
        self._deaths_allowed = deaths_allowed
        self._engine, self._book, self._signals = engine, book, signals
        self._scratch, self._log = scratch, log

    def run(self, function: str, make_call: Callable[[], Call], *, what: str, on_stop: OnStop) -> Ending:
        """Give the ending of `function`, which works on `what`: its result, or a failure; never `died`.

        `make_call` is asked anew for each child, since the time that is left has become less.

        Raises:
            Trouble: the child met what may pass, such as a full disk.
        """
        deaths, furthest = 0, -1.0
        self._tell_bounds()
        while True:
            relay = _Relay(self._book, furthest, what)
            call = make_call()
            run = self._engine.start(self._task(function, call.arguments))
            ending = watching.follow(
                run, signals=self._signals, seconds_left=call.seconds_left, relay=relay, on_stop=on_stop
            )
            if ending.error == "Unavailable":
                raise Trouble(ending.message)
            if ending.outcome != "died":
                return ending
            deaths = 1 if relay.furthest > furthest else deaths + 1
            furthest = relay.furthest
            self._book.event("died", ending.message, {"deaths": deaths})
            if ending.is_out_of_memory:
                return Ending(outcome="failure", error="TrainingFailed", message=ending.message)
            if deaths >= self._deaths_allowed:
                message = f"The child died {times(deaths)} in a row without getting further. Last: {ending.message}"
                return Ending(outcome="failure", error="TrainingFailed", message=message)

    def _tell_bounds(self) -> None:
        bounds = {**self._engine.confinement(), "memory_bytes": self.share.memory_bytes, "cores": self.share.cores}
        if self._book.noted("bounds") != bounds:
            self._book.note("bounds", bounds)
            words = ". ".join(text[:1].upper() + text[1:] for text in self._engine.confinement().values())
            self._book.event("bounds", f"{words}.", bounds)

    def _task(self, function: str, arguments: Json) -> Task:
        return Task(
            function=function,
            arguments=arguments,
            scratch=self._scratch,
            log=self._log.write,
            cores=self.share.cores,
            memory_bytes=self.share.memory_bytes,
            python=sys.executable,
        )


def times(count: int) -> str:
    """Give in words how often something happened."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


class _Relay:
    """Writes what a child says into the job's book and remembers how far training got."""

    def __init__(self, book: JobBook, furthest: float, what: str) -> None:
        self.furthest = furthest
        self._book, self._what = book, what

    def __call__(self, message: Message) -> None:
        body = message.body
        if message.kind == "event":
            self._book.event(body["kind"], body["message"], body.get("detail"))
        elif message.kind == "progress":
            if body["phase"] == "training":
                self.furthest = max(self.furthest, float(body["done"]))
            self._book.progress(body)
            if "saved" in body["values"]:
                self._book.got_further(f"saved in {self._what}", body["values"]["saved"])
        else:
            self._book.heartbeat()
