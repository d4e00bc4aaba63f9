"""Parts of a streamed answer on their way from the thread that makes them to the event loop."""

from __future__ import annotations

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from gyropilot.errors import InvalidRequest
from gyropilot.problems.contract import StreamedReply
from gyropilot.serve.replica.part_flow import PartFlow


def flowing(work, parts):
    """Run `work` on the flow of a stream of these parts."""

    async def run(pool):
        flow = PartFlow(pool, lambda: StreamedReply(content_type="text/plain", parts=parts))
        try:
            return await work(flow)
        finally:
            await flow.close()

    with ThreadPoolExecutor(1) as pool:
        return asyncio.run(asyncio.wait_for(run(pool), 30))


async def whole(flow):
    return b"".join([part async for part in flow.parts()])


def waits(thread):
    """Whether a thread is inside a wait for room, from which only the reader lets it go on."""
    frame = sys._current_frames()[thread]
    return (
        frame.f_code is threading.Condition.wait.__code__
        and frame.f_back.f_code is threading.Semaphore.acquire.__code__
    )


def test_every_part_comes_in_order():
    wanted = [b"%d " % number for number in range(10_000)]
    assert flowing(whole, iter(wanted)) == b"".join(wanted)
    assert flowing(whole, iter([])) == b""


def test_a_thread_that_is_ahead_waits_for_the_reader():
    made, makers = [], []

    def parts():
        makers.append(threading.get_ident())
        for number in range(1000):
            made.append(number)
            yield b"x"

    async def work(flow):
        assert await flow.content_type() == "text/plain"
        while not waits(makers[0]) and len(made) < 1000:
            await asyncio.sleep(0.001)
        assert len(made) == 65
        return await whole(flow)

    assert flowing(work, parts()) == b"x" * 1000


def test_a_stream_that_nobody_reads_is_closed():
    closed = threading.Event()

    def parts():
        try:
            while True:
                yield b"x"
        finally:
            closed.set()

    flowing(lambda flow: flow.content_type(), parts())
    assert closed.is_set()


@pytest.mark.parametrize(
    ("raised", "seen"),
    [(InvalidRequest(where="a", problem="b"), InvalidRequest), (SystemExit(3), RuntimeError), (OSError(), OSError)],
)
def test_what_is_raised_comes_after_the_parts_before_it(raised, seen):
    def parts(count):
        yield from [b"x"] * count
        raise raised

    with pytest.raises(seen):
        flowing(lambda flow: flow.content_type(), parts(0))
    got = []

    async def work(flow):
        await flow.content_type()
        async for part in flow.parts():
            got.append(part)

    with pytest.raises(seen):
        flowing(work, parts(5))
    assert b"".join(got) == b"x" * 5
