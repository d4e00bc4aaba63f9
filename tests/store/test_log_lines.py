"""Lines are read forward and backward, a bounded piece at a time, with the moments at which they were written."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gyropilot import clock
from gyropilot.store import log_lines
from gyropilot.store.job_logs import JobLog
from gyropilot.store.log_lines import LogLines

END = 2**60


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "log"


def write(folder, monkeypatch, *lines, most_bytes=2**20, every=10, start=1000):
    log = JobLog(folder, most_bytes=most_bytes)
    for number, line in enumerate(lines):
        moment = datetime.fromtimestamp(start + number * every, UTC)
        monkeypatch.setattr(clock, "now", lambda moment=moment: moment)
        log.write(line)
    monkeypatch.undo()
    log.close()


def texts(stretch):
    return [line.text for line in stretch.lines]


def read_forward(lines, most):
    found, offset = [], lines.extent.start
    while stretch := lines.forward(offset, END, most):
        if not stretch.lines:
            return found, stretch.end
        found += stretch.lines
        offset = stretch.end
    return None


def read_backward(lines, most):
    found, offset = [], lines.extent.end
    while True:
        stretch = lines.backward(offset, lines.extent.start, most)
        if not stretch.lines:
            return found
        found = [*stretch.lines, *found]
        offset = stretch.start


def test_lines_are_read_with_their_moments(folder, monkeypatch):
    write(folder, monkeypatch, b"one\n", b"two\r\n\nthree\n", b"\xff four\n")
    stretch = LogLines(folder, is_over=True).forward(0, END, 100)
    told = [(line.offset, line.at, line.text) for line in stretch.lines]
    assert told == [
        (0, 1_000_000, "one"),
        (4, 1_010_000, "two"),
        (10, 1_010_000, "three"),
        (16, 1_020_000, "� four"),
    ]
    assert (stretch.start, stretch.end) == (0, 23)


@pytest.mark.parametrize("most", [1, 3, 1000])
def test_pages_both_ways_make_up_the_whole(folder, monkeypatch, most):
    write(folder, monkeypatch, *(b"line %d\n%s" % (number, b"\n" * (number % 3)) for number in range(50)))
    lines = LogLines(folder, is_over=True)
    forward, end = read_forward(lines, most)
    assert [line.text for line in forward] == [f"line {number}" for number in range(50)]
    assert end == lines.extent.end
    assert read_backward(lines, most) == forward


def test_a_line_that_is_being_written_is_told_when_it_is_whole(folder, monkeypatch):
    write(folder, monkeypatch, b"one\n", b"tw")
    lines = LogLines(folder, is_over=False)
    assert texts(lines.forward(0, END, 10)) == texts(lines.backward(lines.extent.end, 0, 10)) == ["one"]
    assert lines.forward(4, END, 10).end == 4
    assert texts(LogLines(folder, is_over=True).forward(4, END, 10)) == ["tw"]
    write(folder, monkeypatch, b"o\n", start=2000)
    lines = LogLines(folder, is_over=False)
    assert texts(lines.forward(4, END, 10)) == ["two"]


def test_a_moment_is_found_at_the_beginning_of_a_line(folder, monkeypatch):
    write(folder, monkeypatch, b"a\nb", b"b\nc\n", b"d\n")
    lines = LogLines(folder, is_over=True)
    assert [lines.offset_at(moment) for moment in (0, 1_000_000, 1_000_001, 1_010_001, 1_020_001)] == [0, 0, 5, 7, 9]
    assert texts(lines.forward(0, lines.offset_at(1_020_000), 10)) == ["a", "bb", "c"]


def test_lines_of_which_the_beginning_was_dropped_are_left_out(folder, monkeypatch):
    write(folder, monkeypatch, *(b"number %04d\n" % number for number in range(100)), most_bytes=400)
    lines = LogLines(folder, is_over=True)
    assert lines.extent.start > 0
    found = texts(lines.forward(0, END, 1000))
    assert found == [f"number {number:04d}" for number in range(100 - len(found), 100)]
    assert texts(lines.backward(lines.extent.end, 0, 1000)) == found
    assert len(found) >= 20


def test_a_line_without_end_is_told_in_pieces(folder, monkeypatch):
    write(folder, monkeypatch, b"x" * 1050)
    monkeypatch.setattr(log_lines, "LONGEST_LINE_BYTES", 100)
    monkeypatch.setattr(log_lines, "PAGE_BYTES", 250)
    lines = LogLines(folder, is_over=False)
    forward, end = read_forward(lines, 10)
    assert ([len(line.text) for line in forward], end) == ([100] * 10, 1000)


def test_a_log_that_is_not_there_is_empty(folder):
    lines = LogLines(folder, is_over=False)
    assert lines.forward(0, END, 10).lines == lines.backward(0, 0, 10).lines == ()
    assert (lines.offset_at(5), lines.last_at()) == (0, None)
