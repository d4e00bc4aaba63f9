from __future__ import annotations

import os
import threading

import pytest

from gyropilot import clock
from gyropilot.engine import messages
from gyropilot.engine.child import Orders, PipeReporter


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    yield reading, writing
    os.close(reading)
    os.close(writing)


def heard(reading):
    try:
        return [messages.decode(line) for line in os.read(reading, 1_000_000).splitlines()]
    except BlockingIOError:
        return []


def test_nothing_follows_the_last_line(pipe):
    reading, writing = pipe
    reporter = PipeReporter(writing, Orders())
    reporter.finish(messages.encode("result", 1))
    reporter.heartbeat()
    reporter.event("late", "")
    reporter.progress("late", done=1, total=1, unit="")
    reporter.heartbeat()
    assert [one.outcome for one in heard(reading)] == ["result"]


def test_progress_is_thinned_and_its_last_word_is_not_lost(pipe, monkeypatch):
    reading, writing = pipe
    now = [100.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    reporter = PipeReporter(writing, Orders())
    for step in range(100):
        now[0] += 0.01
        reporter.progress("training", done=step, total=100, unit="steps")
    said = [one.body["done"] for one in heard(reading)]
    assert len(said) == 5
    reporter.heartbeat()
    assert [one.kind for one in heard(reading)] == ["progress", "heartbeat"]
    reporter.progress("saving", done=0, total=1, unit="files")
    assert heard(reading)[0].body["phase"] == "saving"


def test_lines_of_many_threads_do_not_mix(pipe):
    reading, writing = pipe
    reporter = PipeReporter(writing, Orders())
    found = []

    def read():
        while len(found) < 8 * 50:
            found.extend(heard(reading))

    def say(number):
        for turn in range(50):
            reporter.event("turn", f"{number}-{turn}", detail={"x": "y" * 900})

    # Lines of this length are written whole (PIPE_BUF), so they are read whole too.
    threads = [threading.Thread(target=say, args=(number,)) for number in range(8)]
    reader = threading.Thread(target=read)
    for thread in [reader, *threads]:
        thread.start()
    for thread in [reader, *threads]:
        thread.join(30)
    assert len({one.body["message"] for one in found}) == 8 * 50


def test_a_detail_that_cannot_travel_is_left_out_not_the_event(pipe):
    reading, writing = pipe
    reporter = PipeReporter(writing, Orders())
    reporter.event("finding", "message", detail={"a": object()})
    reporter.event("finding", "m" * 10_000, detail={"a": "x" * 1_000_000})
    first, second = heard(reading)
    assert "object is not JSON" in first.body["detail"]["left_out"]
    assert "bytes are more" in second.body["detail"]["left_out"]
    assert len(second.body["message"]) == 4096
