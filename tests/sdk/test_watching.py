import pytest

from gyropilot.sdk.errors import Refused, Unreachable
from gyropilot.sdk.values import Progress
from gyropilot.sdk.watching import follow


def _said(status):
    return Progress(status=status, secondary_status=status)


class Told:
    """Answers from a script; an exception in it is raised."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def progress(self, name):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def _follow(connect, patience_seconds=60.0):
    return list(follow(connect, "job", poll_seconds=0.0, patience_seconds=patience_seconds))


def test_it_ends_with_the_job():
    told = Told(_said("InProgress"), _said("Stopping"), _said("Stopped"), _said("never asked"))
    assert [one.status for one in _follow(lambda: told)] == ["InProgress", "Stopping", "Stopped"]


def test_a_restart_is_waited_for_and_connected_to_anew():
    services = [
        Told(_said("InProgress"), Unreachable("gone")),
        Told(Refused(code="ServiceUnavailable", message="", status=503)),
        Told(_said("InProgress"), _said("Completed")),
    ]
    seen = _follow(lambda: services.pop(0))
    assert [one and one.status for one in seen] == ["InProgress", None, None, "InProgress", "Completed"]


def test_a_service_silent_for_too_long_ends_the_watch():
    told = Told(_said("InProgress"), Unreachable("gone"), Unreachable("gone"))
    with pytest.raises(Unreachable):
        _follow(lambda: told, patience_seconds=-1.0)


def test_a_job_that_is_not_there_is_no_silence():
    told = Told(Refused(code="ResourceNotFound", message="no such job", status=400))
    with pytest.raises(Refused):
        _follow(lambda: told)
