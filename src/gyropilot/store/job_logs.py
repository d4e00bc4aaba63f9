"""Jobs' logs: what children print and the worker notes, in order; written by the worker, read while it grows.

A log is a folder of parts, each named by the offset of its first byte: logs/<job id>/0000000000000000.log. Beyond a cap
the oldest part goes. Offsets count from the first byte the log ever had, so they mean the same before and after.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

_PARTS = 4


class JobLog:
    """One job's log, open for writing; usable from any thread. What a full disk does not take is left out, and told."""

    def __init__(self, folder: Path, *, most_bytes: int) -> None:
        self._folder = folder
        self._part_bytes = max(1, most_bytes // _PARTS)
        self._writing = threading.Lock()
        self._descriptor: int | None = None
        self._part_size = 0
        self._lost_bytes = 0

    def write(self, data: bytes) -> None:
        """Append."""
        with self._writing:
            try:
                if self._lost_bytes:
                    self._append(f"\n[{self._lost_bytes} bytes of this log could not be written]\n".encode())
                    self._lost_bytes = 0
                self._append(data)
            except OSError:
                self._lost_bytes += len(data)

    def close(self) -> None:
        """Close the file; a later `write` opens it again."""
        with self._writing:
            self._close_part()

    def _append(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            if self._part_size >= self._part_bytes:
                self._close_part()
            if self._descriptor is None:
                self._open_part()
            assert self._descriptor is not None
            written = os.write(self._descriptor, view[: max(1, self._part_bytes - self._part_size)])
            self._part_size += written
            view = view[written:]

    def _open_part(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        parts = _parts(self._folder)
        start, size = parts[-1] if parts else (0, 0)
        if size >= self._part_bytes:
            start, size = start + size, 0
            for old, _ in parts[: max(0, len(parts) - _PARTS + 1)]:
                _path(self._folder, old).unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor, self._part_size = os.open(_path(self._folder, start), flags, 0o600), size

    def _close_part(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor, self._part_size = None, 0


def read(folder: Path, offset: int, most_bytes: int) -> tuple[int, bytes]:
    """Give bytes from `offset` on, and the offset they begin at: a later one where those before were dropped."""
    start, found = offset, b""
    for part, size in _parts(folder):
        if part + size <= start or len(found) >= most_bytes:
            continue
        if not found:
            start = max(start, part)
        elif part != start + len(found):
            break
        try:
            with _path(folder, part).open("rb") as file:
                file.seek(start + len(found) - part)
                found += file.read(most_bytes - len(found))
        except FileNotFoundError:  # dropped just now
            continue
    return start, found


def _parts(folder: Path) -> list[tuple[int, int]]:
    """Give offset and size of each part, in order."""
    try:
        with os.scandir(folder) as entries:
            found = [(int(one.name[:-4]), one.stat().st_size) for one in entries if one.name.endswith(".log")]
    except FileNotFoundError:
        return []
    return sorted(found)


def _path(folder: Path, offset: int) -> Path:
    return folder / f"{offset:016d}.log"
