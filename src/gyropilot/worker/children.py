"""Runs a problem's functions in children for one job; a child that dies is started again from its last checkpoint."""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gyropilot.engine import memory
from gyropilot.engine.engine import Ending, Engine, Message, Task
from gyropilot.store.job_logs import JobLog
from gyropilot.worker import watching
from gyropilot.worker.job_book import JobBook
from gyropilot.worker.labelled_lines import LabelledLines
from gyropilot.worker.watching import CUT_OFF, Grace, OnStop, Signals

Json = Any


@dataclass(frozen=True, kw_only=True)
class Share:
    """What of the machine one job, or one child of it, may use."""

    cores: int
    memory_bytes: int

    def split(self, parts: int) -> Share:
        """Give one of equal parts; each has a core at least."""
        return Share(cores=max(1, self.cores // parts), memory_bytes=self.memory_bytes // parts)


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a child is to do, however often it must be started for it."""

    function: str
    what: str
    """What it works on, no two at once the same."""
    share: Share
    grace: Grace
    on_stop: OnStop
    tell: Callable[[Json], None]
    """Takes the progress it reports."""
    label: str = ""
    """Leads each line that it prints, where others print beside it."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """What one child is started with."""

    arguments: Json
    seconds_left: float | None
    """None: no bound."""


class Trouble(Exception):
    """A step failed for want of what may be there again soon: space, the object store."""


class Children:
    """The children of one job; `run` may be called from several threads at once."""

    def __init__(
        self, engine: Engine, book: JobBook, signals: Signals, *, scratch: Path, log: JobLog, deaths_allowed: int
    ) -> None:
        self._deaths_allowed = deaths_allowed
        self._engine, self._book, self._signals = engine, book, signals
        self._scratch, self._log = scratch, log
        self._telling_bounds = threading.Lock()

    def run(self, work: Work, make_call: Callable[[], Call]) -> Ending:
        """Give the ending of the work: its result, or a failure; never `died`. One that was cut off says CUT_OFF.

        `make_call` is asked anew for each child, since the time that is left has become less.

        Raises:
            Trouble: the child met what may pass, such as a full disk.
        """
        self._tell_bounds(work.share)
        scratch = self._scratch / work.what
        try:
            return self._run(work, make_call, scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _run(self, work: Work, make_call: Callable[[], Call], scratch: Path) -> Ending:
        deaths, furthest = 0, -1.0
        while True:
            relay = _Relay(self._book, furthest, work)
            call = make_call()
            with contextlib.ExitStack() as closing:
                run = self._engine.start(self._task(work, call.arguments, scratch, log=self._log_of(work, closing)))
                ending = watching.follow(
                    run,
                    signals=self._signals,
                    seconds_left=call.seconds_left,
                    grace=work.grace,
                    relay=relay,
                    on_stop=work.on_stop,
                )
            if ending.error == "Unavailable":
                raise Trouble(ending.message)
            if ending.outcome != "died":
                return ending
            deaths = 1 if relay.furthest > furthest else deaths + 1
            furthest = relay.furthest
            self._book.event("died", f"{work.what}: {ending.message}", {"deaths": deaths, "what": work.what})
            if ending.is_out_of_memory:
                return Ending(outcome="failure", error="TrainingFailed", message=ending.message)
            if deaths >= self._deaths_allowed:
                message = f"The child died {times(deaths)} in a row without getting further. Last: {ending.message}"
                return Ending(outcome="failure", error="TrainingFailed", message=message)

    def _tell_bounds(self, share: Share) -> None:
        with self._telling_bounds:
            confinement = self._engine.confinement()
            bounds = {**confinement, "memory_bytes": share.memory_bytes, "cores": share.cores}
            told = self._book.noted("bounds") or {}
            if told != bounds:
                self._book.note("bounds", bounds)
                # What holds for the whole job is told once; the share changes from phase to phase.
                is_known = all(told.get(name) == text for name, text in confinement.items())
                words = "" if is_known else ". ".join(text[:1].upper() + text[1:] for text in confinement.values())
                self._book.event("bounds", f"{words}. {_granted(share)}".removeprefix(". "), bounds)

    def _log_of(self, work: Work, closing: contextlib.ExitStack) -> Callable[[bytes], None]:
        if not work.label:
            return self._log.write
        lines = LabelledLines(self._log.write, work.label)
        closing.callback(lines.close)
        return lines

    def _task(self, work: Work, arguments: Json, scratch: Path, *, log: Callable[[bytes], None]) -> Task:
        return Task(
            function=work.function,
            arguments=arguments,
            scratch=scratch,
            log=log,
            cores=work.share.cores,
            memory_bytes=work.share.memory_bytes,
            python=sys.executable,
        )


def failure_reason(ending: Ending) -> str:
    """Give what a FailureReason says of an ending that is no result."""
    if ending.error == "InternalFailure":
        return f"InternalFailure: an error of this service ended training ({ending.message}); see the job's log."
    return ending.message


def is_cut_off(ending: Ending) -> bool:
    """Say whether it was the worker that ended the child: its time was up, or Stop came with nothing to keep."""
    return ending.error == CUT_OFF


def _granted(share: Share) -> str:
    cores = "1 core" if share.cores == 1 else f"{share.cores} cores"
    return f"A child is granted {cores} and {memory.shown(share.memory_bytes)} of memory."


def times(count: int) -> str:
    """Give in words how often something happened."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


class _Relay:
    """Writes what a child says into the job's book and remembers how far training got."""

    def __init__(self, book: JobBook, furthest: float, work: Work) -> None:
        self.furthest = furthest
        self._book, self._work = book, work

    def __call__(self, message: Message) -> None:
        body = message.body
        if message.kind == "event":
            self._book.event(body["kind"], body["message"], body.get("detail"))
        elif message.kind == "progress":
            if body["phase"] == "training":
                self.furthest = max(self.furthest, float(body["done"]))
            self._work.tell(body)
            if "saved" in body["values"]:
                self._book.got_further(f"saved in {self._work.what}", body["values"]["saved"])
        else:
            self._book.heartbeat()
