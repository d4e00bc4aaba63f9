"""Work for a client, given up when the client goes away; used by the doors that answer calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any

from gyropilot.serve.doors.call_bodies import ClientGone

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


async def while_client_waits(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Do the work, or cancel it when the client goes away.

    Args:
        receive: of the request, whose body was read to its end.
        work: what to do; whatever it raises is raised here.

    Raises:
        ClientGone: the client went away first.
    """
    # The work stays in the task of the call, which the watcher cancels: one task less, and a round of the loop less.
    working, has_left = asyncio.current_task(), False

    async def watch() -> None:
        nonlocal has_left
        while (await receive())["type"] != "http.disconnect":
            pass
        has_left = True
        if working is not None:
            working.cancel()

    watching = asyncio.create_task(watch())
    try:
        await work
    except asyncio.CancelledError:
        if not has_left or working is None or working.uncancel() > 0:
            raise
        raise ClientGone from None
    finally:
        watching.cancel()
