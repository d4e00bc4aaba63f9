"""What the client gives back beside the service's own answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Json = Any

ENDED = frozenset({"Completed", "Failed", "Stopped"})
"""The job statuses that no job leaves."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a job is: its status, and what the phase at work last said."""

    status: str
    secondary_status: str
    phase: str = ""
    """What is being done, as `training`; empty when nothing was reported yet."""
    done: float = 0.0
    total: float = 0.0
    unit: str = ""
    """What `done` and `total` count, as `step`."""
    values: Mapping[str, float] = field(default_factory=dict)
    """Figures of the moment: loss, tokens_per_second, seconds_left."""
    is_queued: bool = False
    """Whether the job waits for its turn: it is open, and no worker took it yet."""
    started_at: datetime | None = None
    """When a worker first began with the job; None: none did."""
    used: Mapping[str, Json] = field(default_factory=dict)
    """What the job works by, defaults filled in, as hyperparameters; `defaulted` names those that we chose."""

    @property
    def is_ended(self) -> bool:
        """Say whether the job has reached a status that it will not leave."""
        return self.status in ENDED


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened to a job; `sequence` counts from 1 without gaps."""

    sequence: int
    at: datetime
    kind: str
    message: str
    detail: Mapping[str, Json]


@dataclass(frozen=True, kw_only=True)
class LogPart:
    """A piece of a job's log, and the offset at which the next one starts."""

    text: str
    next_offset: int
