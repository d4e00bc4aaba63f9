from __future__ import annotations

import os
import stat
from datetime import UTC, datetime

import pytest

from gyropilot import clock
from gyropilot.store import job_logs
from gyropilot.store.job_logs import JobLog


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "logs" / "job"


def test_what_was_written_is_read_back_in_order_while_the_log_is_open(folder):
    log = JobLog(folder, most_bytes=1000)
    assert job_logs.read(folder, 0, 100) == (0, b"")
    log.write(b"one\n")
    log.write(b"two\n")
    assert job_logs.read(folder, 0, 100) == (0, b"one\ntwo\n")
    assert job_logs.read(folder, 4, 2) == (4, b"tw")
    assert job_logs.read(folder, 8, 100) == (8, b"")
    log.close()


def test_the_oldest_part_goes_and_offsets_stay(folder):
    log = JobLog(folder, most_bytes=400)
    whole = b"".join(b"%09d\n" % number for number in range(200))
    for place in range(0, len(whole), 70):
        log.write(whole[place : place + 70])
    kept = sum(path.stat().st_size for path in folder.glob("*.log"))
    assert {path.stem for path in folder.glob("*.times")} == {path.stem for path in folder.glob("*.log")}
    assert 300 <= kept <= 400
    start, found = job_logs.read(folder, 0, 10_000)
    assert (start, found) == (len(whole) - kept, whole[-kept:])
    assert job_logs.read(folder, start + 123, 50) == (start + 123, whole[start + 123 : start + 173])
    log.close()


def test_a_log_goes_on_where_a_killed_writer_left_it(folder):
    JobLog(folder, most_bytes=40).write(b"a" * 25)
    JobLog(folder, most_bytes=40).write(b"b" * 5)
    assert job_logs.read(folder, 20, 100) == (20, b"a" * 5 + b"b" * 5)


def test_a_reader_that_pages_through_a_growing_log_misses_nothing(folder):
    log, offset, seen = JobLog(folder, most_bytes=10_000), 0, b""
    whole = os.urandom(6000)
    for place in range(0, len(whole), 100):
        log.write(whole[place : place + 100])
        start, found = job_logs.read(folder, offset, 64)
        assert start == offset
        offset, seen = start + len(found), seen + found
    while found:
        _, found = job_logs.read(folder, len(seen), 64)
        seen += found
    assert seen == whole
    log.close()


def test_what_the_disk_does_not_take_is_told_when_it_takes_again(folder, monkeypatch):
    log = JobLog(folder, most_bytes=1000)
    log.write(b"before\n")

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        log.write(b"12345")
    log.write(b"after\n")
    assert job_logs.read(folder, 0, 1000)[1] == b"before\n\n[5 bytes of this log could not be written]\nafter\n"
    log.close()


def test_a_log_is_its_owners_alone(folder):
    JobLog(folder, most_bytes=1000).write(b"x")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()] == [0o600, 0o600]


def test_it_is_kept_when_what_was_written(folder, monkeypatch):
    moments = [1000.0, 1000.2, 1005.0, 1003.0, 1007.5]  # once the clock is set back
    log = JobLog(folder, most_bytes=10_000)
    for number, moment in enumerate(moments):
        monkeypatch.setattr(clock, "now", lambda moment=moment: datetime.fromtimestamp(moment, UTC))
        log.write(b"line %d\n" % number)
    found = job_logs.extent(folder)
    assert (found.start, found.end) == (0, 35)
    assert found.times == ((0, 1_000_000), (14, 1_005_000), (28, 1_007_500))
    log.close()


def test_a_part_without_times_counts_by_when_it_was_written_last(folder):
    folder.mkdir(parents=True)
    (folder / f"{0:016d}.log").write_bytes(b"old\n")
    os.utime(folder / f"{0:016d}.log", (2000, 2000))
    assert job_logs.extent(folder).times == ((0, 2_000_000),)
    assert job_logs.written_at(folder) == 2_000_000
    (folder / f"{0:016d}.times").write_text("2 3000000\n3 30")
    assert job_logs.extent(folder).times == ((0, 3_000_000), (2, 3_000_000), (3, 3_000_000))


def test_a_log_that_is_not_there_has_nothing(folder):
    assert job_logs.extent(folder) == job_logs.Extent(start=0, end=0, times=())
    assert job_logs.written_at(folder) is None
