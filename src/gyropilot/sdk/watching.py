"""Follows a job by asking again and again, over restarts of the service."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Protocol

from gyropilot.sdk.errors import Refused, Unreachable
from gyropilot.sdk.values import Progress


class Asked(Protocol):
    """What can be asked how far a job is."""

    def progress(self, name: str) -> Progress:
        """Give how far the job is."""


def follow(
    connect: Callable[[], Asked], name: str, *, poll_seconds: float, patience_seconds: float
) -> Iterator[Progress | None]:
    """Give the job's progress at each asking, the last one when it has ended; None where the service did not answer.

    Args:
        connect: gives what to ask; called again after each silence, since a restarted service may stand elsewhere.
        name: the job's.
        poll_seconds: time between two askings.
        patience_seconds: a service silent for longer ends the watch.

    Raises:
        Unreachable: the service stayed silent too long. The job itself goes on when the service is back.
        Refused: the service has no such job.
    """
    asked = connect()
    silent_since: float | None = None
    while True:
        try:
            asked = asked if silent_since is None else connect()
            progress = asked.progress(name)
        except (Unreachable, Refused) as error:
            if isinstance(error, Refused) and error.status < 500:
                raise
            silent_since = time.monotonic() if silent_since is None else silent_since
            if time.monotonic() - silent_since > patience_seconds:
                raise
            yield None
        else:
            silent_since = None
            yield progress
            if progress.is_ended:
                return
        time.sleep(poll_seconds)
