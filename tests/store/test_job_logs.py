from __future__ import annotations

import os
import stat

import pytest

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
    kept = sum(path.stat().st_size for path in folder.iterdir())
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
    assert [stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()] == [0o600]
