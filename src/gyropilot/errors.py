"""The one family of errors; every layer raises them, `wire/errors.py` alone knows their codes and statuses.

GyropilotError
├── InvalidRequest        a request field is wrong; carries every fault of the request
├── MalformedRequest      the body is not what the protocol carries
├── RequestTooLarge       a request is longer than is read
├── InvalidShape          the request does not fit the service model
├── InvalidData           a data file is wrong: object, row and column
├── NotFound              the named resource is not there (or not the caller's)
├── AlreadyExists         the name is taken
├── LimitExceeded         a quota or a limit of the machine is reached
├── NotAuthentic          the signature does not hold (reason says which check)
├── NotAllowed            the caller may not do this
├── Throttled             too many calls in a short time
├── UnknownOperation      no such call here
├── Unavailable           a part that the service needs does not answer; worth a retry
├── SealBroken            a sealed secret does not open
├── ModelFailed           a loaded model refused a payload, or broke on it
├── ModelNotReady         an endpoint has no replica that can answer just now; worth a retry
├── LeaseLost             another worker owns the job; stop quietly
├── MissingExtra          an optional dependency is not installed
└── TrainingFailed        training could not give a model; the message says what to mend
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that is wrong: where it stands, what was found, what is wrong with it, how to mend it."""

    where: str
    found: object = None
    problem: str
    fix: str = ""
    wording: str = ""
    """The whole as it is told, where clients match on the service's own words."""

    def __str__(self) -> str:
        if self.wording:
            return self.wording
        found = "" if self.found is None else f" (found {_shown(self.found)})"
        fix = f"; {self.fix}" if self.fix else ""
        return f"{self.where}: {self.problem}{found}{fix}"


class GyropilotError(Exception):
    """Base of the family."""


class _FaultyInput(GyropilotError):
    """An error that is a list of faults."""

    def __init__(self, *, where: str, problem: str, found: object = None, fix: str = "") -> None:
        self.faults: tuple[Fault, ...] = (Fault(where=where, found=found, problem=problem, fix=fix),)
        super().__init__(str(self.faults[0]))

    @classmethod
    def of(cls, faults: Iterable[Fault]) -> _FaultyInput:
        """Give one error that carries all `faults`."""
        error = cls.__new__(cls)
        error.faults = tuple(faults)
        Exception.__init__(error, " | ".join(str(fault) for fault in error.faults))
        return error


class InvalidRequest(_FaultyInput):
    """A request cannot be honoured as it stands; nothing was stored."""


class MalformedRequest(GyropilotError):
    """The body is not JSON, or not JSON such as the protocol carries."""


class RequestTooLarge(GyropilotError):
    """A request is longer than is read."""


class InvalidShape(GyropilotError):
    """A request does not fit the service model; the message names every fault in the service's own wording."""


class InvalidData(_FaultyInput):
    """What a channel holds cannot be used; the message names object, row and column where they are known."""


class NotFound(GyropilotError):
    """The named resource does not exist for this caller."""


class AlreadyExists(GyropilotError):
    """The name is taken."""


class LimitExceeded(GyropilotError):
    """A quota or a limit is reached."""


class NotAuthentic(GyropilotError):
    """The request's signature does not hold.

    `reason` chooses the wire code; unknown key and wrong signature read alike to the caller.
    """

    Reason = Literal["missing", "incomplete", "wrong", "expired"]

    def __init__(self, reason: NotAuthentic.Reason, message: str) -> None:
        self.reason = reason
        super().__init__(message)


class NotAllowed(GyropilotError):
    """The caller is known and may not do this."""


class Throttled(GyropilotError):
    """One caller makes more calls than are served; worth a retry."""


class UnknownOperation(GyropilotError):
    """The service has no such operation."""


class Unavailable(GyropilotError):
    """A part that the service needs, such as its database, does not answer just then; worth a retry.

    What was asked for may or may not have been done.
    """


class SealBroken(GyropilotError):
    """A sealed secret does not open: it was sealed under another key, or changed."""


class ModelFailed(GyropilotError):
    """A loaded model refused a payload, or broke on it: what its container answered, with its status."""

    def __init__(self, message: str, *, status: int, answer: str, log_stream_arn: str) -> None:
        self.status = status
        self.answer = answer
        self.log_stream_arn = log_stream_arn
        super().__init__(message)


class ModelNotReady(GyropilotError):
    """An endpoint has no replica that can answer just now; worth a retry."""


class LeaseLost(GyropilotError):
    """A write found another epoch on the job: its owner changed, stop quietly."""


class MissingExtra(GyropilotError):
    """An optional dependency is absent."""

    def __init__(self, extra: str, needed_for: str) -> None:
        super().__init__(
            f"{needed_for} needs the optional part {extra!r}; install it: pip install 'gyropilot[{extra}]'"
        )


class TrainingFailed(GyropilotError):
    """Training ended without a usable model; the message is fit for FailureReason."""


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."
