"""Locks on a home folder: who may use it beside whom. Held by open files, so the end of a process frees its locks.

lock        alone: the process whose database is the SQLite file; shared: those that meet in PostgreSQL
crew        shared by the processes that work on jobs; who comes first frees what dead ones held
serve       alone: the process that keeps the replicas of endpoints
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from gyropilot.errors import LimitExceeded
from gyropilot.store.folders import make_private_folder


class HomeLock:
    """A lock, held until `release` or the end of the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Let go."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> HomeLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def own(home: Path) -> HomeLock:
    """Make the folder (owner only) and take sole ownership of it.

    Raises:
        LimitExceeded: another process uses it; the message names its process id where it is the sole owner.
        InvalidRequest: the folder belongs to another user.
    """
    descriptor = _opened(home, "lock")
    if not _took(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB):
        raise _in_use(home, descriptor)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return HomeLock(descriptor)


def share(home: Path) -> HomeLock:
    """Make the folder (owner only) and use it together with others.

    Raises:
        LimitExceeded: a process owns it alone; the message names its process id.
        InvalidRequest: the folder belongs to another user.
    """
    descriptor = _opened(home, "lock")
    if not _took(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB):
        raise _in_use(home, descriptor)
    os.ftruncate(descriptor, 0)
    return HomeLock(descriptor)


def join_crew(home: Path, *, when_first: Callable[[], object]) -> HomeLock:
    """Be one of the processes that work on the jobs of this home; `when_first` is called if no other one is alive.

    Another that joins meanwhile waits until that is done.
    """
    descriptor = _opened(home, "crew")
    try:
        if _took(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB):
            when_first()
        _took(descriptor, fcntl.LOCK_SH)
    except BaseException:
        os.close(descriptor)
        raise
    return HomeLock(descriptor)


def serve(home: Path) -> HomeLock | None:
    """Be the process that keeps this home's replicas; None while another one is."""
    descriptor = _opened(home, "serve")
    try:
        if _took(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB):
            return HomeLock(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def has_crew(home: Path) -> bool:
    """Say whether any process works on the jobs of this home, on whichever machine; makes nothing."""
    try:
        descriptor = os.open(home / "crew", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        # Held for a moment: a first worker that joins in it waits and takes itself for the second, so that the leases
        # of dead ones run out instead of being freed at once.
        return not _took(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)


def _opened(home: Path, name: str) -> int:
    make_private_folder(home)
    return os.open(home / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _took(descriptor: int, operation: int) -> bool:
    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in {errno.ENOLCK, errno.EOPNOTSUPP}:
            raise
        raise LimitExceeded(
            "the file system of the home folder has no locks; put it on one that has, as a local disk or NFS 4"
        ) from error
    return True


def _in_use(home: Path, descriptor: int) -> LimitExceeded:
    holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
    os.close(descriptor)
    who = f"another gyropilot service (process {holder})" if holder else "gyropilot processes that share a database"
    return LimitExceeded(
        f"{home} is in use by {who}; stop that one, or give this one a folder of its own with --home or GYROPILOT_HOME"
    )
