"""The replica processes of this service, by what they are for: models that share their base hold one together."""

from __future__ import annotations

import threading
from collections.abc import Callable

from gyropilot import clock
from gyropilot.serve.replicas.process import ReplicaProcess, ReplicaRoom

WriteLog = Callable[[bytes], None]


class HeldProcesses:
    """Opens a process for its first holder and closes it after its last; safe for threads."""

    def __init__(self, room: ReplicaRoom) -> None:
        self.room = room
        self._guard = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        self._closing: list[ReplicaProcess] = []
        self._is_over = False
        self._is_prepared = False
        self._has_cleared = False

    @property
    def is_prepared(self) -> bool:
        """Whether a process may be taken without its folder being cleared away again."""
        return self._is_prepared

    def prepare(self) -> None:
        """Clear away what a killed service left, once, before the first process of this one."""
        with self._guard:
            self._prepare()

    def take(self, key: str, holder: str, problem: str, log: WriteLog) -> ReplicaProcess:
        """Give the process of that key, opened if there is none that lives; `log` takes what it prints from now on.

        Raises:
            InvalidRequest, LimitExceeded, OSError: as ReplicaRoom.open.
        """
        with self._guard:
            if self._is_over:
                raise OSError("the service goes down")
            self._prepare()
            if not self._has_cleared:  # it looks what holds children here, which costs a start of a process
                self.room.engine.clear_leftovers()
                self._has_cleared = True
            entry = self._entries.get(key)
            if entry is None or entry.process.ending is not None:
                logs = {holder: log}
                entry = self._entries[key] = _Entry(self.room.open(problem, _fan_out(logs)), logs)
            entry.logs[holder] = log
            entry.holders.add(holder)
            return entry.process

    def give_back(self, key: str, holder: str, process: ReplicaProcess) -> None:
        """Hold the process no more."""
        with self._guard:
            entry = self._entries.get(key)
            if entry is None or entry.process is not process:
                return
            entry.holders.discard(holder)
            if entry.holders:
                entry.logs.pop(holder, None)
                return
            del self._entries[key]  # the last holder's log takes what the process prints on its way out
            self._closing = [*(one for one in self._closing if one.ending is None), process]
        process.close()

    def holders(self, key: str) -> int:
        """Give how many hold the process of that key."""
        with self._guard:
            entry = self._entries.get(key)
            return 0 if entry is None else len(entry.holders)

    def close(self, *, seconds: float) -> None:
        """Let every process end; what lives after that many seconds is killed."""
        with self._guard:
            self._is_over = True
            processes = [*self._closing, *(one.process for one in self._entries.values())]
            self._entries.clear()
        for process in processes:
            process.close()
        until = clock.monotonic() + seconds
        for process in processes:
            if not process.wait_until_ended(seconds=max(0.0, until - clock.monotonic())):
                process.kill("the service goes down")
                process.wait_until_ended(seconds=10.0)

    def _prepare(self) -> None:
        if not self._is_prepared:
            self.room.prepare()
            self._is_prepared = True


class _Entry:
    def __init__(self, process: ReplicaProcess, logs: dict[str, WriteLog]) -> None:
        self.process, self.logs = process, logs
        self.holders: set[str] = set()


def _fan_out(logs: dict[str, WriteLog]) -> WriteLog:
    def write(data: bytes) -> None:
        for log in list(logs.values()):
            log(data)

    return write
