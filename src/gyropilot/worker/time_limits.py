"""How long a job and its candidates may still take; of the job's time a part is kept for the reports."""

from __future__ import annotations

from gyropilot.problems.contract import Limits
from gyropilot.worker.time_used import JOB, TimeUsed

LEAST_LIMIT_SECONDS = 300.0
"""A job that may take less than this keeps nothing back for its reports: they are made in what training leaves."""
_RESERVED_SHARE, _MOST_RESERVED_SECONDS = 0.15, 300.0


class TimeLimits:
    """Of one job, by the time it was worked on over all attempts."""

    def __init__(self, limits: Limits, used: TimeUsed, *, has_reports: bool) -> None:
        self._limits, self._used = limits, used
        self.reserved_seconds = _reserved(limits.seconds_per_job) if has_reports else 0.0

    def job_seconds_left(self) -> float | None:
        """Give how long the job may still take; None: no bound."""
        limit = self._limits.seconds_per_job
        return None if limit is None else limit - self._used.seconds(JOB)

    def training_seconds_left(self) -> float | None:
        """Give how long its candidates may still be trained; None: no bound."""
        left = self.job_seconds_left()
        return None if left is None else left - self.reserved_seconds

    def candidate_seconds_left(self, name: str) -> float | None:
        """Give how long a candidate may still take, by its own bound or by that of all; None: no bound."""
        bounds = [one for one in (self._own_seconds_left(name), self.training_seconds_left()) if one is not None]
        return max(0.0, min(bounds)) if bounds else None

    def is_bound_by_job(self, name: str) -> bool:
        """Say whether it is the job's bound, rather than the candidate's own, that comes first."""
        left, own = self.training_seconds_left(), self._own_seconds_left(name)
        return left is not None and (own is None or left <= own)

    def _own_seconds_left(self, name: str) -> float | None:
        limit = self._limits.seconds_per_candidate
        return None if limit is None else limit - self._used.seconds(name)


def _reserved(seconds_per_job: int | None) -> float:
    if seconds_per_job is None or seconds_per_job < LEAST_LIMIT_SECONDS:
        return 0.0
    return min(_MOST_RESERVED_SECONDS, _RESERVED_SHARE * seconds_per_job)
