"""What a call of the client can end in.

ServiceError
├── Refused          the service answered with an error; `code` is the wire's, as ValidationException
├── Unreachable      no answer came
├── NotDeployed      a job has no model to deploy, or what is to be made is there already
├── BrokenOff        an answer that came part by part ended before its end
├── NotDownloaded    artifacts cannot be fetched, or are not what the job's manifest says
└── NotConfigured    the environment names no service
"""

from __future__ import annotations


class ServiceError(Exception):
    """Base of the family."""


class Refused(ServiceError):
    """The service answered with an error."""

    def __init__(self, *, code: str, message: str, status: int, caller: str = "") -> None:
        self.code = code
        self.message = message
        self.status = status
        self.caller = caller
        """The key that was used, where another might have been let in."""
        said = f"{code}: {message}" if message else code
        super().__init__(f"{said} ({caller})" if caller else said)


class Unreachable(ServiceError):
    """No answer came from the service."""


class NotDeployed(ServiceError):
    """A job has no model to deploy, or something else has the endpoint's name."""


class BrokenOff(ServiceError):
    """An answer that came part by part ended before its end; what came of it is right."""


class NotDownloaded(ServiceError):
    """Artifacts cannot be fetched, are not what the job's manifest says, or something else lies in their place."""


class NotConfigured(ServiceError):
    """The environment names no service, or no keys for it."""
