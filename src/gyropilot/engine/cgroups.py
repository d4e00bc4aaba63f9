"""Control groups: what a run may hold of memory and processes, kept by the kernel; made for one run, gone after it.

A group is a folder `gyropilot-<process id>-<its start>-<number>` below the service's own group (version 2: or beside
it). The name tells whose it is, so that a later service clears away what a killed one left.

Two versions are in use: version 2 has one tree for all controllers, version 1 one tree for each.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gyropilot import clock

_PROC = Path("/proc")
_NAME = re.compile(r"gyropilot-(\d+)-(\d+)-\d+")
_numbers = itertools.count(1)
_GONE_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class Places:
    """Folders in which groups can be made; None where the kernel, or who runs this machine, does not let us."""

    version: Literal[1, 2] | None
    memory: Path | None
    processes: Path | None
    why_not: str = ""
    """Why there is none for memory."""


class Group:
    """One run's group, in one folder or, in version 1, one for memory and one for processes."""

    def __init__(self, places: Places) -> None:
        """Make it, without a limit.

        Raises:
            OSError: the kernel does not let us.
        """
        self._version = places.version
        name = f"gyropilot-{os.getpid()}-{_started_at(os.getpid())}-{next(_numbers)}"
        self._memory = places.memory / name if places.memory else None
        self._processes = places.processes / name if places.processes else None
        self._is_closed = False
        try:
            for folder in self._folders():
                folder.mkdir()
        except OSError:
            self.close()
            raise

    def limit(self, *, memory_bytes: int, processes: int) -> None:
        """Say what all processes of the group may hold together; swap is left out of what they may use."""
        if self._memory is not None and self._version == 2:
            _write(self._memory / "memory.max", memory_bytes)
            _write_if_there(self._memory / "memory.oom.group", 1)
            _write_if_there(self._memory / "memory.swap.max", 0)
        elif self._memory is not None:
            _write(self._memory / "memory.limit_in_bytes", memory_bytes)
            _write_if_there(self._memory / "memory.memsw.limit_in_bytes", memory_bytes)
        if self._processes is not None:
            _write(self._processes / "pids.max", processes)

    def add(self, process_id: int) -> None:
        """Put a process in, and with it whatever it will start.

        Raises:
            OSError: it has ended, or the kernel does not let us.
        """
        for folder in self._folders():
            _write(folder / "cgroup.procs", process_id)

    def memory_kills(self) -> int:
        """Give how many processes of the group the kernel has killed for want of memory."""
        if self._memory is None or self._is_closed:
            return 0
        file = self._memory / ("memory.events" if self._version == 2 else "memory.oom_control")
        return sum(int(value) for name, value in _pairs(file) if name == "oom_kill")

    def close(self) -> None:
        """End what is left in the group and remove it."""
        self._is_closed = True
        until = clock.monotonic() + _GONE_SECONDS
        for folder in self._folders():
            while not _removed(folder) and clock.monotonic() < until:
                _kill_members(folder)
                clock.sleep(0.005)

    def _folders(self) -> list[Path]:
        return list(dict.fromkeys(one for one in (self._memory, self._processes) if one is not None))


def find() -> Places:
    """Give where this process may make groups, as it was shown by making one."""
    mounts, own = _mounts(), _own_groups()
    why_not = "no control groups are mounted"
    for version in (2, 1):
        for places in _version_2(mounts, own) if version == 2 else _version_1(mounts, own):
            try:
                _try(places)
            except OSError as error:
                why_not = f"control groups of version {version} cannot be made ({error.strerror or error})"
            else:
                return places
    return Places(version=None, memory=None, processes=None, why_not=why_not)


def clear_leftovers(places: Places) -> int:
    """Remove the groups of services that are no more, with what still runs in them; give how many there were."""
    removed = 0
    for parent in {one for one in (places.memory, places.processes) if one is not None}:
        for folder in parent.glob("gyropilot-*"):
            named = _NAME.fullmatch(folder.name)
            if named is None or _started_at(int(named[1])) == int(named[2]):
                continue
            _kill_members(folder)
            removed += _removed(folder)
    return removed


def _version_2(mounts: dict[str, Path], own: dict[str, str]) -> Iterator[Places]:
    if "cgroup2" not in mounts or "" not in own:
        return
    folder = mounts["cgroup2"] / own[""].lstrip("/")
    _enable(folder)
    yield Places(version=2, memory=folder, processes=folder)
    if folder != mounts["cgroup2"]:
        # A group that holds processes cannot give limits to groups in it; beside it they can be made where a user's
        # session or a unit was handed over to its owner.
        if _is_delegated(folder.parent):
            _enable(folder.parent)
        yield Places(version=2, memory=folder.parent, processes=folder.parent)


def _version_1(mounts: dict[str, Path], own: dict[str, str]) -> Iterator[Places]:
    if "memory" in mounts and "memory" in own:
        memory = mounts["memory"] / own["memory"].lstrip("/")
        processes = mounts["pids"] / own["pids"].lstrip("/") if "pids" in mounts and "pids" in own else None
        yield Places(version=1, memory=memory, processes=processes)
        yield Places(version=1, memory=memory, processes=None)


def _try(places: Places) -> None:
    group = Group(places)
    try:
        group.limit(memory_bytes=2**30, processes=64)
        group.memory_kills()
    finally:
        group.close()


def _enable(folder: Path) -> None:
    for controller in ("memory", "pids"):
        with contextlib.suppress(OSError):
            if controller not in (folder / "cgroup.subtree_control").read_text(encoding="ascii").split():
                _write(folder / "cgroup.subtree_control", f"+{controller}")


def _is_delegated(folder: Path) -> bool:
    """Say whether systemd marked a group as its owner's to shape."""
    for name in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError, AttributeError):
            if os.getxattr(folder, name) == b"1":
                return True
    return False


def _mounts() -> dict[str, Path]:
    """Give where each tree is mounted: `cgroup2`, and version 1's by controller."""
    mounts = {}
    for line in _lines(_PROC / "self" / "mountinfo"):
        place, _, kind = line.partition(" - ")
        fields, described = place.split(), kind.split()
        if described[:1] == ["cgroup2"] and fields[3] == "/":
            mounts["cgroup2"] = Path(fields[4])
        elif described[:1] == ["cgroup"] and fields[3] == "/":
            mounts |= {controller: Path(fields[4]) for controller in described[-1].split(",")}
    return mounts


def _own_groups() -> dict[str, str]:
    """Give this process's group by controller; version 2's under an empty name."""
    groups: dict[str, str] = {}
    for line in _lines(_PROC / "self" / "cgroup"):
        _, controllers, group = line.split(":", 2)
        groups |= dict.fromkeys(controllers.split(","), group)
    return groups


def _started_at(process_id: int) -> int | None:
    """Give when a process began, in the kernel's ticks; None where there is none of that number."""
    try:
        stat = (_PROC / str(process_id) / "stat").read_bytes()
    except OSError:
        return None
    return int(stat[stat.rindex(b")") + 1 :].split()[19])


def _kill_members(folder: Path) -> None:
    for line in _lines(folder / "cgroup.procs"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(int(line), signal.SIGKILL)


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _pairs(file: Path) -> Iterator[tuple[str, str]]:
    for line in _lines(file):
        name, _, value = line.partition(" ")
        yield name, value


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _write(file: Path, value: object) -> None:
    # One write of the whole value to a file that is there: the kernel reads each write as a command.
    descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, str(value).encode("ascii"))
    finally:
        os.close(descriptor)


def _write_if_there(file: Path, value: object) -> None:
    with contextlib.suppress(OSError):
        _write(file, value)
