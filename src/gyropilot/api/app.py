"""The control-plane door: one ASGI app, its chain as one list; put into a process by `cli/processes.py`.

request -> source -> health -> body                                         on the event loop
        -> signature -> rate -> operation -> permission -> parse -> validate
        -> operate -> respond -> audit line -> response                     in one thread, one hop a call
any step raises -> wire/errors.py -> error response
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from gyropilot import clock
from gyropilot.api import audit
from gyropilot.api import catalog as catalog_room
from gyropilot.api.catalog import Catalog
from gyropilot.api.chain import Chain, ClientGone
from gyropilot.api.exchange import Exchange, Receive, Scope, Send
from gyropilot.control.entrance import Entrance
from gyropilot.control.house import House
from gyropilot.errors import Unavailable
from gyropilot.wire.errors import wire_error

App = Callable[[Scope, Receive, Send], Awaitable[None]]
Arrival = Callable[[Exchange], Awaitable[None]]
Step = Callable[[Exchange], None]

THREADS = 32
"""Calls answered at once. Threads of this door's own, and more than cores: a few calls that wait for an object store
or a disk leave room for the others."""

logger = logging.getLogger(__name__)


def make_app(house: House, catalog: Catalog | None = None, entrance: Entrance | None = None) -> App:
    """Give the app that answers the JSON API for a house.

    Args:
        house: what the operations work on.
        catalog: the operations; by default all in `api/operations`.
        entrance: what the doors of the process share; by default one of this door's own.

    Raises:
        RuntimeError: an operation is not in the service model or cannot be granted.
    """
    entrance = entrance or Entrance(house.credentials, house.settings)
    chain = Chain(house, catalog or catalog_room.read(), entrance)
    steps: list[Step] = [
        chain.verify_signature,
        chain.check_rate,
        chain.name_operation,
        chain.authorise,
        chain.parse,
        chain.validate,
        chain.operate,
        chain.respond,
    ]
    threads = ThreadPoolExecutor(THREADS, thread_name_prefix="api")

    def walk(exchange: Exchange) -> None:
        try:
            for step in steps:
                step(exchange)
        except Exception as error:
            _take_error(exchange, error)
        audit.note(exchange, house.settings.audit)

    async def walk_in_thread(exchange: Exchange) -> None:
        await asyncio.get_running_loop().run_in_executor(threads, walk, exchange)

    arrival: list[Arrival] = [chain.check_source, chain.answer_health, chain.read_body, walk_in_thread]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await _answer(arrival, scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            raise NotImplementedError(f"this app has no part in {scope['type']}")

    return app


async def _answer(arrival: Sequence[Arrival], scope: Scope, receive: Receive, send: Send) -> None:
    exchange = Exchange(
        scope=scope,
        receive=receive,
        request_id=str(uuid.uuid4()),
        headers=[(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]],
    )
    started_at = clock.monotonic()
    try:
        await _run(arrival, exchange)
    except ClientGone:
        return
    except Exception as error:
        _take_error(exchange, error)
    _log(exchange, seconds=clock.monotonic() - started_at)
    await _send(exchange, send)


async def _run(arrival: Sequence[Arrival], exchange: Exchange) -> None:
    for step in arrival:
        await step(exchange)
        if exchange.is_answered:
            return


def _take_error(exchange: Exchange, error: Exception) -> None:
    """Make an error the answer; the one place where that is done."""
    modelled = exchange.entry.operation.errors if hasattr(exchange, "entry") else frozenset()
    told = wire_error(error, request_id=exchange.request_id, modelled=modelled)
    if isinstance(error, Unavailable):  # one line a call: while the database is away there are many
        logger.warning("%s %s: %s (%s)", exchange.request_id, exchange.operation_name, error, error.__cause__)
    elif told.status >= 500:
        logger.error("%s %s failed", exchange.request_id, exchange.operation_name, exc_info=error)
    exchange.error_code = told.code
    exchange.status, exchange.answer = exchange.protocol.error(told, exchange.request_id)
    exchange.content_type = exchange.protocol.content_type


def _log(exchange: Exchange, *, seconds: float) -> None:
    # Whoever watches over the service asks for its health every second; that is worth no line.
    level = logging.DEBUG if exchange.is_answered else logging.INFO
    names = f"{exchange.operation_name} {exchange.resource_name} {exchange.caller_name}"
    outcome = f"{exchange.status} {exchange.error_code}".rstrip()
    logger.log(level, "%s %s %s %.0f ms", exchange.request_id, names, outcome, seconds * 1000)


async def _send(exchange: Exchange, send: Send) -> None:
    headers = {
        "content-type": exchange.content_type,
        "content-length": str(len(exchange.answer)),
        "x-amzn-requestid": exchange.request_id,
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
    }
    # A connection with an unread body cannot carry a next request.
    if exchange.status in (403, 413) or exchange.is_cut_off:
        headers["connection"] = "close"
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": exchange.status, "headers": pairs})
    await send({"type": "http.response.body", "body": b"" if exchange.method == "HEAD" else exchange.answer})
