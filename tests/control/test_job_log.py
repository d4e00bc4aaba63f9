"""A job's log as a client reads it: by offsets that keep their meaning though the oldest part is dropped."""

import pytest

import houses
import mean_jobs
from gyropilot.control import automl_jobs
from gyropilot.store.job_logs import JobLog


@pytest.fixture
def log(house):
    mean_jobs.create(house)
    job = automl_jobs.find(house, houses.admin(house), houses.REGION, "job")
    return JobLog(house.settings.logs / job.id, most_bytes=4000)


def read(house, offset):
    request = {"AutoMLJobName": "job", "Offset": offset}
    found = automl_jobs.job_log(house, houses.admin(house), houses.REGION, request)
    return found["Text"], found["NextOffset"]


def test_a_job_that_printed_nothing_has_an_empty_log(house, log):
    assert read(house, 0) == ("", 0)


def test_a_character_cut_by_the_end_waits_for_its_rest(house, log):
    log.write("a\u00e9".encode()[:2])
    assert read(house, 0) == ("a", 1)
    log.write("a\u00e9".encode()[2:])
    assert read(house, 1) == ("\u00e9", 3)


def test_a_reader_that_was_left_behind_is_told_how_much_is_gone(house, log):
    for number in range(1000):
        log.write(b"%09d\n" % number)
    text, after = read(house, 0)
    first, _, rest = text.partition("\n")
    assert first == f"[{10_000 - len(rest)} bytes before this were dropped]"
    assert rest.endswith("000000999\n")
    assert after == 10_000
    assert read(house, after - 10) == ("000000999\n", after)
