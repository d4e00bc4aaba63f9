"""Durable files of the embedded object store: temporary, synced, renamed into place; and the lock of a bucket.

A process killed at any moment leaves the old or the new record, each naming bytes that are whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from gyropilot.errors import NotAllowed
from gyropilot.files import sync
from gyropilot.names import new_id

BLOCK_BYTES = 1 << 20


def write_new(to: Path, blocks: Iterator[bytes]) -> None:
    """Write blocks into the file `to`, which nobody else may read.

    No file is made where the first block cannot be had.
    """
    first = next(blocks, b"")
    with os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as target:
        target.write(first)
        for block in blocks:
            target.write(block)


class Draft:
    """Bytes on their way into the store: written to a temporary file, kept only if they are moved into place.

    The file stays locked while the draft is open; one that nobody locks belonged to a process that died (`sweep`).
    """

    def __init__(self, folder: Path) -> None:
        self.size_bytes = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        while True:
            self.path = folder / new_id()
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            if self.path.exists():
                return
            os.close(self._descriptor)  # swept between creation and lock

    def write(self, data: bytes | memoryview) -> None:
        """Append `data`."""
        view = memoryview(data)
        self._md5.update(view)
        self.size_bytes += len(view)
        _write_all(self._descriptor, view)

    def append(self, path: Path) -> None:
        """Append a file of the store without reading it where the system can; `md5` does not cover it."""
        source = open_plain(path)
        try:
            while count := _copied(source, self._descriptor):
                self.size_bytes += count
        finally:
            os.close(source)

    def md5(self) -> bytes:
        """Give the MD5 of what `write` was given."""
        return self._md5.digest()

    def move(self, to: Path) -> None:
        """Make the bytes durable under the name `to`; its folder is left for the caller to sync."""
        os.fsync(self._descriptor)
        self.path.rename(to)
        self.close()

    def close(self) -> None:
        """Drop what was not moved."""
        if self._descriptor >= 0:
            self.path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Draft:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def sweep(folder: Path) -> None:
    """Remove the drafts of processes that died."""
    for path in folder.iterdir():
        # Opened to be written, since the locks of network file systems ask for that.
        with contextlib.suppress(OSError), path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)


def make_folders(root: Path, folders: tuple[str, ...]) -> Path:
    """Give the folder below `root`, made durable where it was not there; no step of it is a link.

    Raises:
        NotAllowed: a symbolic link stands in the way.
    """
    folder = root
    for name in folders:
        parent, folder = folder, folder / name
        try:
            folder.mkdir(mode=0o700)
            sync(parent)
        except FileExistsError:
            pass
    refuse_links(folder)
    return folder


def refuse_links(folder: Path) -> None:
    """Refuse a folder below the store's real root that a symbolic link leads to.

    Raises:
        NotAllowed: a symbolic link stands in the way.
    """
    if os.path.realpath(folder) != str(folder):
        raise NotAllowed(f"{folder}: a symbolic link stands in the object store's folder; remove it")


def open_plain(path: Path) -> int:
    """Give a descriptor to read `path`, which may not be a link.

    Raises:
        OSError: it is absent (FileNotFoundError) or a link.
    """
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)


@contextlib.contextmanager
def locked(path: Path, note: bytes) -> Iterator[bytes]:
    """Hold the lock file `path` alone among all threads and processes, leaving `note` in it while at work.

    Gives the note of a holder that died at work, else nothing.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        left = os.pread(descriptor, 1 << 16, 0)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, note, 0)
        yield left
        os.ftruncate(descriptor, 0)  # not after an error: what it left half done is for the next holder to clear
    finally:
        os.close(descriptor)


def _copied(source: int, target: int) -> int:
    """Give how many bytes of `source` were appended to `target`; 0 at its end."""
    with contextlib.suppress(AttributeError, OSError):  # not on every system, not between any two file systems
        return os.copy_file_range(source, target, 64 * BLOCK_BYTES)
    return _write_all(target, memoryview(os.read(source, BLOCK_BYTES)))


def _write_all(target: int, view: memoryview) -> int:
    size_bytes = len(view)
    while view:
        view = view[os.write(target, view) :]
    return size_bytes
