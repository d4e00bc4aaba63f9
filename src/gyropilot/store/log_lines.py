"""Lines of a log, with when they were written, read a bounded piece at a time; `store/job_logs.py` writes logs.

A line is named by the offset of its first byte, so a reader that keeps an offset goes on where it was, however much was
written, or dropped, since.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gyropilot.store import job_logs
from gyropilot.store.job_logs import Extent

PAGE_BYTES = 2**20
LONGEST_LINE_BYTES = 2**18
"""What is longer is told as several lines."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line, without its end."""

    offset: int
    at: int
    """Milliseconds since 1970."""
    text: str


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Some lines in their order, and the offsets between which they were all that was not empty."""

    lines: tuple[Line, ...]
    start: int
    end: int


class LogLines:
    """One log as it is at this moment."""

    def __init__(self, folder: Path, *, is_over: bool) -> None:
        """Open the log in `folder`; only of one that is over the end is read though no line ends there."""
        self._folder, self._is_over = folder, is_over
        self.extent: Extent = job_logs.extent(folder)
        self._offsets = [offset for offset, _ in self.extent.times]
        self._moments = [at for _, at in self.extent.times]

    def offset_at(self, moment: int) -> int:
        """Give the offset from which on everything was written at `moment`, in milliseconds, or later."""
        place = bisect_left(self._moments, moment)
        return self._line_start(self._offsets[place]) if place < len(self._offsets) else self._end_of_lines()

    def forward(self, offset: int, until: int, most: int) -> Stretch:
        """Give the lines that begin between the offsets, at most `most`; `offset` begins a line."""
        start, data = job_logs.read(self._folder, offset, PAGE_BYTES)
        if start > offset:  # what lay there is dropped, and what is left may begin within a line
            start, data = _behind_line_end(start, data)
        found: list[Line] = []
        end = start
        for place, size, text in _split(data, is_whole=self._is_over and start + len(data) >= self.extent.end):
            if start + place >= until or len(found) == most:
                break
            end = start + place + size
            if text:
                found.append(self._line(start + place, text))
        return Stretch(lines=tuple(found), start=start, end=end)

    def backward(self, offset: int, since: int, most: int) -> Stretch:
        """Give the last lines that begin between `since` and `offset`, at most `most`; both begin lines."""
        wanted = max(since, offset - PAGE_BYTES)
        start, data = job_logs.read(self._folder, wanted, offset - wanted)
        if start > since:
            start, data = _behind_line_end(start, data)
        is_whole = self._is_over or offset < self.extent.end
        pieces = [(place, size, text) for place, size, text in _split(data, is_whole=is_whole) if text]
        kept = pieces[-most:]
        begun = start + kept[0][0] if kept else start
        end = start + kept[-1][0] + kept[-1][1] if kept else start
        return Stretch(lines=tuple(self._line(start + place, text) for place, _, text in kept), start=begun, end=end)

    def last_at(self) -> int | None:
        """Give when the last line was written, about; None where there is none."""
        return self._moments[-1] if self._moments else None

    def _line(self, offset: int, text: str) -> Line:
        return Line(offset=offset, at=self._moments[max(0, bisect_right(self._offsets, offset) - 1)], text=text)

    def _line_start(self, offset: int) -> int:
        """Give where the first line begins at `offset` or behind it."""
        if offset <= self.extent.start == 0:
            return 0
        from_ = offset if offset <= self.extent.start else offset - 1
        start, data = job_logs.read(self._folder, from_, LONGEST_LINE_BYTES)
        return _behind_line_end(start, data)[0]

    def _end_of_lines(self) -> int:
        """Give where what is read ends: before a line that is being written."""
        if self._is_over:
            return self.extent.end
        start, data = job_logs.read(self._folder, max(0, self.extent.end - LONGEST_LINE_BYTES), LONGEST_LINE_BYTES)
        place = data.rfind(b"\n") + 1
        return start + place if place else self.extent.end


def _behind_line_end(start: int, data: bytes) -> tuple[int, bytes]:
    """Give what follows the first end of a line; all of it where there is none, for no line is so long."""
    place = data.find(b"\n") + 1
    return start + place, data[place:]


def _split(data: bytes, *, is_whole: bool) -> Iterator[tuple[int, int, str]]:
    """Give place, size with its end, and text of each line; of an end that no line ends, only where that is whole."""
    place = 0
    while place < len(data):
        found = data.find(b"\n", place, place + LONGEST_LINE_BYTES)
        if found >= 0:
            size = found + 1 - place
        elif len(data) - place >= LONGEST_LINE_BYTES:
            size = LONGEST_LINE_BYTES
        elif is_whole:
            size = len(data) - place
        else:
            return
        yield place, size, data[place : place + size].rstrip(b"\r\n").decode("utf-8", "replace")
        place += size
