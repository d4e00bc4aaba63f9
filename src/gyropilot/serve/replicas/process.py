"""One replica process: an engine's run of `replica.run`, followed from its start to its end.

The supervisor and batch transforms open one by `ReplicaRoom.open`, load models into it, and close it. A process that
is silent too long, or does not answer its ping, is ended; whoever holds it sees `ending` and opens another.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gyropilot import clock, names
from gyropilot.control.house import House
from gyropilot.engine import memory
from gyropilot.engine.engine import Ending, Engine, Run, Task
from gyropilot.errors import InvalidRequest
from gyropilot.serve.replica.main import LEAVE_SECONDS
from gyropilot.serve.replicas import calls as replica_calls
from gyropilot.store.folders import make_private_folder

logger = logging.getLogger(__name__)

Json = Any

LONGEST_SOCKET = 100
"""Bytes of a socket's path: the kernels take 104 or 108."""
STALL_SECONDS = 30.0
"""A process that sends no heartbeat this long hangs."""
_STARTING_LOOK_SECONDS = 0.05
_LOOK_SECONDS = 0.25
_PING_SECONDS = 5.0
"""How often it is asked whether it takes calls."""
_SILENT_PINGS = 3


class ReplicaProcess:
    """A process that models are loaded into; safe for threads. Its `socket` speaks what replica_app.py tells."""

    def __init__(self, run: Run, folder: Path, *, stall_seconds: float) -> None:
        self.socket = socket_in(folder)
        self._run, self._folder, self._stall_seconds = run, folder, stall_seconds
        self._is_up, self._has_ended = threading.Event(), threading.Event()
        self._close_by: float | None = None
        self._killed_because = ""
        self.ending: Ending | None = None
        """How it ended; None while it runs."""
        self._follower = threading.Thread(target=self._follow, name=f"replica {folder.name}", daemon=True)
        self._follower.start()

    @property
    def is_up(self) -> bool:
        """Whether it took calls, the last time it was asked."""
        return self._is_up.is_set() and self.ending is None

    @property
    def process_id(self) -> int | None:
        """The number of the process, where the engine tells one."""
        return getattr(self._run, "process_id", None)

    def wait_until_up(self, *, seconds: float) -> bool:
        """Wait until it takes calls and say whether it does; it may have ended."""
        until = clock.monotonic() + seconds
        while not self._is_up.wait(_STARTING_LOOK_SECONDS):
            if self._has_ended.is_set() or clock.monotonic() > until:
                return False
        return self.is_up

    def close(self) -> None:
        """Ask it to end; the calls inside may take LEAVE_SECONDS. Returns at once."""
        if self._close_by is None:
            self._run.request_stop()
            self._close_by = clock.monotonic() + LEAVE_SECONDS + 1.0

    def wait_until_ended(self, *, seconds: float) -> bool:
        """Wait for its end and say whether it came."""
        return self._has_ended.wait(seconds)

    def kill(self, because: str) -> None:
        """End it at once."""
        self._killed_because = self._killed_because or because
        self._run.kill()

    def _follow(self) -> None:
        try:
            ending = self._followed_to_end()
        except Exception:
            logger.exception("a replica process could not be followed")
            self._run.kill()
            ending = Ending(outcome="died", message="the service could not follow it")
        shutil.rmtree(self._folder, ignore_errors=True)
        self.ending = ending
        self._has_ended.set()

    def _followed_to_end(self) -> Ending:
        asked_at, silent_pings = clock.monotonic(), 0
        heard_at: float | None = None
        """None before its first sign of life, which the time that a start may take bounds."""
        while (ending := self._run.ending()) is None:
            if self._run.next_message(_LOOK_SECONDS if self._is_up.is_set() else _STARTING_LOOK_SECONDS) is not None:
                heard_at = clock.monotonic()
            now = clock.monotonic()
            if self._close_by is not None:
                if now > self._close_by:
                    self.kill("it was asked to end and did not")
            elif heard_at is not None and now - heard_at > self._stall_seconds:
                self.kill(f"it gave no sign of life for {now - heard_at:.0f} s")
            elif not self._is_up.is_set():
                if self.socket.exists() and replica_calls.answers(self.socket):
                    self._is_up.set()
            elif now - asked_at > _PING_SECONDS:
                silent_pings = 0 if replica_calls.answers(self.socket) else silent_pings + 1
                asked_at = clock.monotonic()
                if silent_pings >= _SILENT_PINGS and self._run.ending() is None:
                    self.kill("it did not answer when it was asked whether it takes calls")
        return ending

    def described_end(self, memory_bytes: int) -> str:
        """Give in words why it ended; empty while it runs."""
        ending = self.ending
        if ending is None:
            return ""
        if ending.is_out_of_memory:
            return (
                f"out of memory: it needed more than the {memory.shown(memory_bytes)} that a replica is granted; "
                "serve a smaller model, or raise the setting replica_memory_gib"
            )
        return self._killed_because or ending.message.replace("the job's log", "its log") or "its process ended"


@dataclass(frozen=True, kw_only=True)
class ReplicaRoom:
    """What replica processes of this service are started with."""

    house: House
    engine: Engine
    cores: int
    memory_bytes: int
    """Of one process."""
    allowed_servers: tuple[str, ...] = ("gyropilot.problems.",)
    """What the function that opens a model server must begin with."""
    stall_seconds: float = STALL_SECONDS

    @property
    def folder(self) -> Path:
        """Where each process has a folder, with its socket in it."""
        return self.house.settings.replicas

    def prepare(self) -> None:
        """Make the folder, owner only, and empty it of what a killed service left; no other service may use it."""
        make_private_folder(self.folder)
        for one in self.folder.iterdir():
            with contextlib.suppress(NotADirectoryError):
                shutil.rmtree(one, ignore_errors=True)

    def open(self, problem: str, log: Callable[[bytes], None]) -> ReplicaProcess:
        """Start a process for models of a problem type, which is given by its config name.

        `log` takes what the process prints.

        Raises:
            InvalidRequest: the service has no such problem type (any more), or its home lies too deep for sockets.
            LimitExceeded: the machine cannot start the process.
            OSError: the machine has no room for it just now.
        """
        make_private_folder(self.folder)
        folder = self.folder / names.new_id()[:8]
        check_socket_length(folder)
        settings = self.house.settings
        arguments = {
            "open_server": self._open_server_of(problem),
            "allowed_prefixes": list(self.allowed_servers),
            "socket": str(socket_in(folder)),
            "base_models": str(settings.base_models),
            "cores": self.cores,
            "memory_bytes": self.memory_bytes,
        }
        task = Task(
            function="gyropilot.serve.replica.main:run",
            arguments=arguments,
            scratch=folder,
            log=log,
            cores=self.cores,
            memory_bytes=self.memory_bytes,
            python=sys.executable,
        )
        try:
            run = self.engine.start(task)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return ReplicaProcess(run, folder, stall_seconds=self.stall_seconds)

    def _open_server_of(self, problem: str) -> str:
        for one in self.house.problems:
            if one.config_name == problem:
                return one.open_server
        raise InvalidRequest(
            where="model", found=problem, problem="is of a problem type that this service does not have", fix="upgrade"
        )


def socket_in(folder: Path) -> Path:
    """Give the path of a process's socket."""
    return folder / "s"


def check_socket_length(folder: Path) -> None:
    """Raise InvalidRequest where a process's socket would have a path longer than sockets may have."""
    path = os.fsencode(socket_in(folder))
    if len(path) > LONGEST_SOCKET:
        raise InvalidRequest(
            where="setting home",
            found=str(folder.parent.parent),
            problem=f"lies too deep for the sockets of replicas: their paths have {len(path)} bytes, and may have "
            f"{LONGEST_SOCKET}",
            fix=f"choose a home whose path is {len(path) - LONGEST_SOCKET} bytes shorter",
        )
