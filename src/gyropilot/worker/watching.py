"""Follows one child to its end: relays what it says, passes Stop on, and ends it when its time is up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from gyropilot import clock
from gyropilot.engine.engine import Ending, Message, Run
from gyropilot.errors import LeaseLost

OnStop = Literal["ask", "kill"]

CUT_OFF = "CutOff"
"""The `error` of an ending that the worker brought about: the time was up, or Stop came with nothing to keep."""
HAND_BACK_SECONDS = 6.0
"""When the service goes down a child may take this long to save what a later run goes on from."""
STALL_SECONDS = 120.0
"""A child that is silent this long, heartbeats among it, hangs."""

_MESSAGE_SECONDS = 0.25


class HandedBack(Exception):
    """The job goes back to the queue: the service goes down, or what failed may work later."""

    def __init__(self, why: str, *, not_for_seconds: float = 0.0) -> None:
        super().__init__(why)
        self.not_for_seconds = not_for_seconds


@dataclass(frozen=True, kw_only=True)
class Grace:
    """How long a child may go on after Stop or its time limit, to evaluate and save what it has."""

    seconds: float
    """Without progress."""
    longest_seconds: float
    """With progress."""


@dataclass(frozen=True, kw_only=True)
class Signals:
    """What may end a run from outside."""

    lease_lost: threading.Event
    stop_requested: threading.Event
    going_down: threading.Event
    abandoned: threading.Event = field(default_factory=threading.Event)
    """The attempt cannot go on, since another child's part of it could not: what runs is handed back."""

    @property
    def is_handed_back(self) -> bool:
        """Say whether children save what a later attempt goes on from, and end."""
        return self.going_down.is_set() or self.abandoned.is_set()


def follow(
    run: Run,
    *,
    signals: Signals,
    seconds_left: float | None,
    grace: Grace,
    relay: Callable[[Message], None],
    on_stop: OnStop,
) -> Ending:
    """Give the ending of `run`; on Stop it is asked to end, or killed where it has nothing to keep.

    Raises:
        LeaseLost: another worker owns the job; the child has been killed.
        HandedBack: the service goes down; the child has saved what it could in the time, and ended.
    """
    time_left = _TimeLeft(seconds_left, grace)
    try:
        while (ending := run.ending()) is None:
            message = run.next_message(_MESSAGE_SECONDS)
            if message is not None:
                relay(message)
                time_left.heard(message)
            if signals.lease_lost.is_set():
                raise LeaseLost("the job's lease went to another worker")
            if signals.is_handed_back:
                time_left.hand_back_asked(run, on_stop)
            if signals.stop_requested.is_set():
                time_left.stop_asked(run, on_stop)
            time_left.end_overdue(run)
    except BaseException:
        run.kill()
        raise
    if signals.is_handed_back:
        raise HandedBack("the service is going down")
    return time_left.judged(ending)


class _TimeLeft:
    """How long a child may still take."""

    def __init__(self, seconds_left: float | None, grace: Grace) -> None:
        self._grace = grace
        self._time_is_up_at = None if seconds_left is None else clock.monotonic() + seconds_left
        self._heard_at = self._progress_at = clock.monotonic()
        self._asked = False
        self._leaves_by: float | None = None
        self._killed_because = ""

    def heard(self, message: Message) -> None:
        self._heard_at = clock.monotonic()
        if message.kind == "progress":
            self._progress_at = self._heard_at

    def stop_asked(self, run: Run, on_stop: OnStop) -> None:
        if self._asked:
            return
        self._asked = True
        if on_stop == "kill":
            self._kill(run, "it was stopped before there was anything to keep")
            return
        run.request_stop()
        now = clock.monotonic()
        self._time_is_up_at = now if self._time_is_up_at is None else min(now, self._time_is_up_at)

    def hand_back_asked(self, run: Run, on_stop: OnStop) -> None:
        if self._leaves_by is None:
            self._leaves_by = clock.monotonic() + (HAND_BACK_SECONDS if on_stop == "ask" else 0.0)
            run.request_hand_back()
        elif clock.monotonic() > self._leaves_by:
            run.kill()

    def end_overdue(self, run: Run) -> None:
        now = clock.monotonic()
        if now - self._heard_at > STALL_SECONDS:
            run.kill()  # a death like another: it is started again
        elif self._time_is_up_at is not None and now > self._time_is_up_at:
            idle = now - max(self._progress_at, self._time_is_up_at)
            if idle > self._grace.seconds or now - self._time_is_up_at > self._grace.longest_seconds:
                why = "it was to stop" if self._asked else "its time was up"
                self._kill(run, f"{why} and it had not ended {now - self._time_is_up_at:.0f} s later")

    def judged(self, ending: Ending) -> Ending:
        if self._killed_because and ending.outcome == "died":
            message = f"Training was ended: {self._killed_because}."
            return Ending(outcome="failure", error=CUT_OFF, message=message)
        return ending

    def _kill(self, run: Run, because: str) -> None:
        if not self._killed_because:
            self._killed_because = because
            run.kill()
