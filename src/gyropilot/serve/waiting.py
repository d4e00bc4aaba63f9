"""Work for a client, given up when the client goes away; used by the doors that answer calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any

from gyropilot.serve.call_bodies import ClientGone

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


async def while_client_waits(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Do the work, or cancel it when the client goes away.

    Args:
        receive: of the request, whose body was read to its end.
        work: what to do; whatever it raises is raised here.

    Raises:
        ClientGone: the client went away first.
    """

    async def leaving() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    working, watching = asyncio.create_task(work), asyncio.create_task(leaving())
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        working.result()
    finally:
        watching.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait({working})
