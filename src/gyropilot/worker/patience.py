"""Repeats what the database cannot do just then; a job in work bears a restart of the database without being lost."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from gyropilot.errors import LeaseLost, Unavailable

Result = TypeVar("Result")
logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.5


class Patience:
    """Tries again until it works, or until the lease is lost or the worker goes down."""

    def __init__(self, lease_lost: threading.Event, going_down: threading.Event) -> None:
        self._lease_lost, self._going_down = lease_lost, going_down

    def try_again(self, work: Callable[[], Result], *, again: Callable[[], Result] | None = None) -> Result:
        """Give what `work` gives; after a failure, what `again` gives, for the first try may have been done.

        Raises:
            LeaseLost: the lease was lost first, or the worker goes down and leaves the job to others.
        """
        attempt = work
        while True:
            try:
                return attempt()
            except Unavailable as error:
                if attempt is work:
                    logger.warning("the database is away, trying again: %s", error)
                attempt = again or work
                if self._lease_lost.is_set() or self._going_down.wait(RETRY_SECONDS):
                    raise LeaseLost("the database is away; the job is left to whoever claims it next") from error
