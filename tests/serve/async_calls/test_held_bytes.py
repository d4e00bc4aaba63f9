"""How much asynchronous invocations hold at once: those that do not fit wait, and all of them end."""

import asyncio

from gyropilot.serve.async_calls import held_bytes
from gyropilot.serve.async_calls.held_bytes import HeldBytes

MIB = 2**20


async def begun(held, account, size, over, answer=0):
    """A call that is inside until `over`; ends with it."""
    is_inside = asyncio.Event()

    async def call():
        async with held.of_call(account, size) as room:
            await room.grow(answer)
            is_inside.set()
            await over.wait()

    task = asyncio.create_task(call())
    for _ in range(10):
        await asyncio.sleep(0)
    return task, is_inside


def test_inputs_wait_for_those_of_their_account_and_of_all():
    async def run():
        held, over = HeldBytes(), asyncio.Event()
        calls = [await begun(held, account, 25 * MIB, over) for account in "aabc"]
        calls.append(await begun(held, "d", 14 * MIB, over))
        inside = [is_inside.is_set() for _, is_inside in calls]
        over.set()
        await asyncio.gather(*(task for task, _ in calls))
        return inside

    assert asyncio.run(run()) == [True, False, True, False, True]


def test_one_answer_of_an_account_is_large_at_a_time_and_those_that_are_cut_off_leave_room():
    async def run():
        held, over = HeldBytes(), asyncio.Event()
        large = held_bytes.SMALL_BYTES + 1
        calls = [await begun(held, account, 0, over, large) for account in "aabc"]
        calls.append(await begun(held, "a", 0, over, large - 1))
        inside = [is_inside.is_set() for _, is_inside in calls]
        calls[0][0].cancel()
        await calls[1][1].wait()
        over.set()
        await asyncio.gather(*(task for task, _ in calls), return_exceptions=True)
        return inside

    assert asyncio.run(run()) == [True, False, True, False, True]
