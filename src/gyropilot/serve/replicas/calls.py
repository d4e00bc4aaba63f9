"""How the supervisor speaks to a replica process: ping, load and unload over its Unix socket, from a thread.

Not by `replica_client`, which asks models on an event loop: here a thread waits, some minutes for a load, and there is
no loop to wait on; three calls a replica's life need no kept connections.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Json = Any

PING_SECONDS = 10.0
OVERDUE = 504
"""Status by which a replica process says that a load takes longer than it may."""
QUEUE_SECONDS = 3600.0
"""How long a load may wait for those before it in its process; they are as long as the longest may take."""
_ANSWER_SECONDS = 30.0
IN_ITS_LOG = "its log has the whole of it"
"""How a replica points at its log: whose it is, an endpoint's or a transform's, is known to who asks."""


class Refusal(Exception):
    """A replica process does not do what it was asked; the text is fit for a FailureReason."""

    def __init__(self, text: str, *, status: int, is_overdue: bool = False) -> None:
        self.status = status
        """Of its answer; 0 where none came."""
        self.is_overdue = is_overdue
        """It is not done in the time it had; it may be at work still."""
        super().__init__(text)


def answers(path: Path) -> bool:
    """Say whether the process takes calls."""
    try:
        _ask(path, "GET", "/ping", None, PING_SECONDS)
    except Refusal:
        return False
    return True


def load(path: Path, name: str, containers: Sequence[tuple[Path, Mapping[str, str]]], *, seconds: float) -> None:
    """Load a model from its containers' folders and environments; it takes calls when this returns.

    The seconds count from when its own loading begins, which others in the same process may delay. `unload` ends the
    wait; what is loaded too late, or unwanted, the process lets go of by itself.

    Raises:
        Refusal: it is not loaded; the process may have ended, or need longer than that many seconds.
    """
    listed = [{"folder": str(folder), "environment": dict(environment)} for folder, environment in containers]
    longest = QUEUE_SECONDS + seconds + _ANSWER_SECONDS
    _ask(path, "POST", "/models", {"name": name, "containers": listed, "seconds": seconds}, longest)


def unload(path: Path, name: str, *, seconds: float) -> None:
    """Let a model take no more calls, wait for those inside, and let go of it; give it up while it is being loaded.

    Raises:
        Refusal: it was not there, or its calls need longer than that.
    """
    _ask(path, "DELETE", f"/models/{name}", None, seconds)


def _ask(path: Path, method: str, target: str, body: Json, seconds: float) -> None:
    connection = _UnixConnection(path, seconds)
    try:
        connection.request(method, target, None if body is None else json.dumps(body).encode())
        answer = connection.getresponse()
        told = answer.read()
    except TimeoutError as error:
        raise Refusal(
            f"it did not answer {method} {target} within {seconds:.0f} s", status=0, is_overdue=True
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise Refusal(f"its process cannot be spoken to ({error})", status=0) from error
    finally:
        connection.close()
    if answer.status != 200:
        raise Refusal(_told(told), status=answer.status, is_overdue=answer.status == OVERDUE)


def _told(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return "it answered what is no answer of ours"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("replica", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
