"""Jobs' logs: what children print and the worker notes, in order; written by the worker, read while it grows.

A log is a folder of parts, each named by the offset of its first byte: logs/<job id>/0000000000000000.log. Beyond a cap
the oldest part goes. Offsets count from the first byte the log ever had, so they mean the same before and after.

Beside each part lies 0000000000000000.times: lines of an offset and the milliseconds since 1970 at which what begins
there was written, one a second at most, never running backwards.
"""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from gyropilot import clock

_PARTS = 4
_TIME_STEP_MS = 1000


@dataclass(frozen=True, kw_only=True)
class Extent:
    """What a log holds: offsets of its first byte and behind its last, and when what lies where was written."""

    start: int
    end: int
    times: tuple[tuple[int, int], ...]
    """Offset and milliseconds since 1970, both ascending; empty only where the log is."""


class JobLog:
    """One job's log, open for writing; usable from any thread. What a full disk does not take is left out, and told."""

    def __init__(self, folder: Path, *, most_bytes: int) -> None:
        self._folder = folder
        self._part_bytes = max(1, most_bytes // _PARTS)
        self._writing = threading.Lock()
        self._descriptor: int | None = None
        self._part_size = 0
        self._part_start = 0
        self._timed_at = 0
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
            self._note_time()
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
                _times_path(self._folder, old).unlink(missing_ok=True)
        self._descriptor, self._part_size = os.open(_path(self._folder, start), _APPEND, 0o600), size
        self._part_start, self._timed_at = start, 0

    def _note_time(self) -> None:
        """Say when what is written next was written; a log without its times is still a log."""
        now = int(clock.now().timestamp() * 1000)
        if now - self._timed_at < _TIME_STEP_MS:
            return
        self._timed_at = now
        line = f"{self._part_start + self._part_size} {now}\n".encode()
        with contextlib.suppress(OSError):
            descriptor = os.open(_times_path(self._folder, self._part_start), _APPEND, 0o600)
            try:
                os.write(descriptor, line)
            finally:
                os.close(descriptor)

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


def extent(folder: Path) -> Extent:
    """Give what the log in a folder holds; parts that no times were noted of count by when they were written last."""
    times: list[tuple[int, int]] = []
    parts = _parts(folder)
    for part, size in parts:
        noted = [(offset, at) for offset, at in _times(folder, part) if part <= offset < part + size]
        if size and (not noted or noted[0][0] > part):
            noted.insert(0, (part, noted[0][1] if noted else _modified_at(_path(folder, part))))
        times += noted
    ascending: list[tuple[int, int]] = []
    for offset, at in times:
        ascending.append((offset, max(at, ascending[-1][1] if ascending else 0)))
    end = sum(parts[-1]) if parts else 0
    return Extent(start=parts[0][0] if parts else 0, end=end, times=tuple(ascending))


def written_at(folder: Path) -> int | None:
    """Give when a log was last written, in milliseconds since 1970; None where there is none."""
    parts = _parts(folder)
    return _modified_at(_path(folder, parts[-1][0])) if parts else None


def _parts(folder: Path) -> list[tuple[int, int]]:
    """Give offset and size of each part, in order."""
    try:
        with os.scandir(folder) as entries:
            found = [(int(one.name[:-4]), one.stat().st_size) for one in entries if one.name.endswith(".log")]
    except FileNotFoundError:
        return []
    return sorted(found)


def _times(folder: Path, part: int) -> list[tuple[int, int]]:
    """Give the times noted of a part; a line that a crash cut short counts for nothing."""
    try:
        text = _times_path(folder, part).read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return []
    lines = (line.split() for line in text.split("\n"))
    return [(int(line[0]), int(line[1])) for line in lines if len(line) == 2 and all(map(str.isdecimal, line))]


def _modified_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns // 1_000_000
    except FileNotFoundError:  # dropped just now
        return 0


def _path(folder: Path, offset: int) -> Path:
    return folder / f"{offset:016d}.log"


def _times_path(folder: Path, part: int) -> Path:
    return folder / f"{part:016d}.times"


_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
