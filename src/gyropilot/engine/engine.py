"""What an engine is: it runs a named function in a process of its own and carries what that says.

A task's function and arguments come from the catalog of problems and the worker, never from a request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

Json = Any


@dataclass(frozen=True, kw_only=True)
class Task:
    """One run of one function in a child."""

    function: str
    """`package.module:function`; called as function(arguments, reporter), returns JSON values."""
    arguments: Mapping[str, Json]
    scratch: Path
    """The child's working folder; made if absent."""
    log: Callable[[bytes], None]
    """Takes the child's stdout and stderr; called by a thread of the engine's, not after the run's ending is given."""
    cores: int
    memory_bytes: int
    python: str
    """Interpreter of the child."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """One line from a child."""

    kind: Literal["progress", "event", "heartbeat"]
    body: Mapping[str, Json]


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a run ended."""

    outcome: Literal["result", "failure", "died"]
    result: Json = None
    """What the function returned, when outcome is `result`."""
    error: str = ""
    """Class name in `gyropilot.errors`, or InternalFailure, when outcome is `failure`."""
    message: str = ""
    """Fit for a FailureReason. For `died`: signal or exit status, and memory if that is what ended it."""
    is_out_of_memory: bool = False
    """The run needed more memory than its task grants, or than the machine has; to start it again would not help."""


class Run(Protocol):
    """A child at work; used by one thread."""

    def next_message(self, timeout_seconds: float) -> Message | None:
        """Give the next message, or None when none came in time or the child has ended."""

    def ending(self) -> Ending | None:
        """Give how the run ended; None while it runs."""

    def request_stop(self) -> None:
        """Ask the function to end gracefully."""

    def request_hand_back(self) -> None:
        """Ask the function to save what a later run goes on from, and to end."""

    def kill(self) -> None:
        """End the child and all its processes at once."""


class Engine(Protocol):
    """Starts runs."""

    @property
    def cores(self) -> int:
        """Give the cores that runs may use, all together."""

    @property
    def memory_bytes(self) -> int:
        """Give the memory that runs may hold, all together."""

    def confinement(self) -> Mapping[str, str]:
        """Give what holds a run's memory, processes and network here, in words."""

    def clear_leftovers(self) -> None:
        """Remove what the runs of a killed service left behind."""

    def start(self, task: Task) -> Run:
        """Start a run; the caller has counted cores and memory."""
