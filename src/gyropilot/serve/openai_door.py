"""The OpenAI-compatible door: one ASGI app for /v1/*, in which text endpoints are models; put into a process by `cli`.

request -> source                                                          on the event loop
        -> bearer token -> rate                                            in one thread
        -> body                                                            on the event loop
        -> JSON -> model, which is an endpoint, from the database          in one thread
        -> router -> replica -> answer, whole or event by event            on the event loop
any step raises -> openai_errors -> error response; in the midst of a stream, an event of its own

The replica reads and writes the JSON of chats and completions; here only `model` and `stream` are looked at.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gyropilot import clock
from gyropilot.control.entrance import Caller, Entrance
from gyropilot.control.house import House
from gyropilot.errors import InvalidRequest, MalformedRequest, NotAuthentic, Unavailable, UnknownOperation
from gyropilot.problems.contract import Style
from gyropilot.serve import openai_errors, openai_models
from gyropilot.serve.call_bodies import BodyRoom, CallBodies, ClientGone
from gyropilot.serve.door import READING_SECONDS
from gyropilot.serve.openai_models import TextModels
from gyropilot.serve.replica_client import ReplicaCall
from gyropilot.serve.router import STREAM_SECONDS, Router, StreamBroken, Target
from gyropilot.serve.waiting import while_client_waits
from gyropilot.wire import bearer

Json = Any
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
T = TypeVar("T")

PATH_PREFIX = "/v1/"
THREADS = 16
JSON_TYPE = "application/json"

_MODELS = "/v1/models"
_STYLES: Mapping[str, Style] = {"/v1/chat/completions": "chat", "/v1/completions": "completion"}
_ANSWERED = f"GET {_MODELS}, GET {_MODELS}/ID, " + " and ".join(f"POST {path}" for path in _STYLES)
_NAME_CHARACTERS = 63

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class _Knock:
    """A request, and what is known of it so far."""

    scope: Scope
    receive: Receive
    send: Send
    headers: list[tuple[str, str]]
    """Names in lower case, values as Latin-1."""
    room: BodyRoom
    request_id: str
    status: int = 0
    error_code: str = ""
    model: str = "-"
    is_begun: bool = False
    """Whether an answer has begun, after which no other can."""
    caller: Caller = field(init=False)

    @property
    def asked(self) -> str:
        """What is asked, as `GET /v1/models`."""
        return f"{self.scope['method']} {self.path}"

    @property
    def path(self) -> str:
        """The path, decoded."""
        return str(self.scope["path"]).rstrip("/")

    def header(self, name: str) -> str | None:
        return next((value for one, value in self.headers if one == name), None)


@dataclass(frozen=True, kw_only=True)
class _Planned:
    """A call on a model, ready to be sent."""

    target: Target
    call: ReplicaCall
    is_streamed: bool


def make_app(house: House, entrance: Entrance | None = None, router: Router | None = None) -> App:
    """Give the app that answers OpenAI's calls for a house.

    Args:
        house: whose text endpoints are the models.
        entrance: what the doors of the process share; by default one of this door's own.
        router: shared with other doors of the same event loop; by default one of this door's own.
    """
    door = _Door(house, entrance or Entrance(house.credentials, house.settings), router or Router(house))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await door.answer(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await door.live(receive, send)

    return app


class _Door:
    """The parts that all calls use."""

    def __init__(self, house: House, entrance: Entrance, router: Router) -> None:
        self._house = house
        self._entrance = entrance
        self._router = router
        self._models = TextModels(house, router)
        self._bodies = CallBodies()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="openai")

    async def live(self, receive: Receive, send: Send) -> None:
        """Follow the server's life: at its end, connections to replicas are closed."""
        message = {"type": ""}
        while message["type"] != "lifespan.shutdown":
            message = dict(await receive())
            if message["type"] == "lifespan.shutdown":
                await self._router.close()
                self._threads.shutdown(wait=False)
            await send({"type": f"{message['type']}.complete"})

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started_at = clock.monotonic()
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        with self._bodies.room() as room:
            knock = _Knock(
                scope=scope, receive=receive, send=send, headers=headers, room=room, request_id=str(uuid.uuid4())
            )
            try:
                await self._answer(knock)
            except ClientGone:
                knock.error_code = "(the client went away)"
            except Exception as error:
                await _answer_error(knock, error)
            _log(knock, seconds=clock.monotonic() - started_at)

    async def _answer(self, knock: _Knock) -> None:
        self._entrance.check_source(knock.headers, knock.scope.get("server"))
        await self._in_thread(self._admit, knock)
        style = _STYLES.get(knock.path) if knock.scope["method"] == "POST" else None
        if style is None:
            await _send_value(knock, await self._in_thread(self._told, knock))
            return
        body = await knock.room.read(knock.receive, knock.header("content-length") or "0")
        planned = await self._in_thread(self._planned, knock, body, style)
        work = self._stream(knock, planned) if planned.is_streamed else self._invoke(knock, planned)
        try:
            async with asyncio.timeout(self._house.settings.invocation_seconds + STREAM_SECONDS + READING_SECONDS):
                await while_client_waits(knock.receive, work)
        except TimeoutError as error:  # the router bounds the model; who is slow is the client, who reads on and on
            raise ClientGone from error

    async def _in_thread(self, function: Callable[..., T], *given: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *given)

    def _admit(self, knock: _Knock) -> None:
        """Prove who calls, and hold back who calls too often. Keys of every kind may ask endpoints."""
        credentials = self._house.credentials
        found = credentials.find(bearer.verify(knock.headers, credentials.find_secret))
        if found is None:
            raise NotAuthentic("wrong", "The key was withdrawn.")
        knock.caller = Caller(principal=found[0], invocation_id=None, region=self._house.settings.region)
        self._entrance.check_rate(knock.caller)

    def _told(self, knock: _Knock) -> Json:
        """Give what is asked about models."""
        if knock.asked == f"GET {_MODELS}":
            return {"object": "list", "data": self._models.listed(knock.caller)}
        if knock.asked.startswith(f"GET {_MODELS}/"):
            knock.model = knock.path.removeprefix(f"{_MODELS}/")
            return openai_models.described(self._models.find(knock.caller, knock.model, "chat").endpoint)
        raise UnknownOperation(f"{knock.asked[:200]} is not answered here; {_ANSWERED} are.")

    def _planned(self, knock: _Knock, body: bytes, style: Style) -> _Planned:
        request = _read(knock, body)
        knock.model = request["model"]
        return _Planned(
            target=self._models.find(knock.caller, knock.model, style),
            call=ReplicaCall(body=body, content_type=JSON_TYPE, style=style, model_name=knock.model),
            is_streamed=bool(request.get("stream")),
        )

    async def _invoke(self, knock: _Knock, planned: _Planned) -> None:
        answer = await self._router.invoke(planned.target, planned.call)
        await _send(knock, 200, answer.body, answer.content_type)

    async def _stream(self, knock: _Knock, planned: _Planned) -> None:
        async with self._router.stream(planned.target, planned.call) as answer:
            await _begin(knock, 200, [("content-type", answer.content_type)])
            async for part in answer.parts:
                await _more(knock, part)
            await _more(knock, b"", is_last=True)


def _read(knock: _Knock, body: bytes) -> dict[str, Json]:
    """Give a request whose `model` is a text.

    Raises:
        MalformedRequest: the body is no JSON object.
        InvalidRequest: `model` or `stream` is not what it has to be.
    """
    if knock.header("content-encoding") not in (None, "identity"):
        raise MalformedRequest("Bodies are not read in any Content-Encoding.")
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedRequest(f"The body is not JSON: {error}.") from error
    if not isinstance(request, dict):
        raise MalformedRequest("The body must be a JSON object.")
    model, stream = request.get("model"), request.get("stream")
    if not isinstance(model, str) or not model:
        fix = f"name an endpoint; GET {_MODELS} lists them"
        raise InvalidRequest(where="model", found=model, problem="must be a text", fix=fix)
    if stream not in (None, True, False):
        raise InvalidRequest(where="stream", found=stream, problem="must be true or false")
    return request


async def _answer_error(knock: _Knock, error: Exception) -> None:
    """Make an error the answer, or the end of the stream; the one place where that is done."""
    told = openai_errors.told(error, request_id=knock.request_id)
    knock.error_code = error.trouble if isinstance(error, StreamBroken) else told.code or told.kind
    if isinstance(error, Unavailable):
        logger.warning("%s %s: %s (%s)", knock.request_id, knock.path, error, error.__cause__)
    elif told.code == "internal_error":
        logger.error("%s %s failed", knock.request_id, knock.path, exc_info=error)
    if knock.is_begun:
        await _more(knock, told.event(), is_last=True)
        return
    retry = [("retry-after", str(told.retry_seconds))] if told.retry_seconds is not None else []
    await _send(knock, told.status, told.body(), JSON_TYPE, retry)


async def _send_value(knock: _Knock, value: Json) -> None:
    await _send(knock, 200, json.dumps(value).encode(), JSON_TYPE)


async def _send(
    knock: _Knock, status: int, body: bytes, content_type: str, more: Sequence[tuple[str, str]] = ()
) -> None:
    headers = [("content-type", content_type), ("content-length", str(len(body))), *more]
    await _begin(knock, status, headers)
    await _more(knock, b"" if knock.scope["method"] == "HEAD" else body, is_last=True)


async def _begin(knock: _Knock, status: int, headers: Sequence[tuple[str, str]]) -> None:
    knock.is_begun, knock.status = True, status
    own = [
        ("x-request-id", knock.request_id),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    ]
    has_body = knock.header("content-length") not in (None, "0") or knock.header("transfer-encoding") is not None
    if has_body and knock.room.is_unread:
        own.append(("connection", "close"))
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in (*headers, *own)]
    await knock.send({"type": "http.response.start", "status": status, "headers": pairs})


async def _more(knock: _Knock, body: bytes, *, is_last: bool = False) -> None:
    await knock.send({"type": "http.response.body", "body": body, "more_body": not is_last})


def _log(knock: _Knock, *, seconds: float) -> None:
    caller = knock.caller.principal.access_key_id if hasattr(knock, "caller") else "-"
    outcome = f"{knock.status or '-'} {knock.error_code}".rstrip()
    told = (knock.request_id, knock.path[:100], knock.model[:_NAME_CHARACTERS], caller, outcome, seconds * 1000)
    logger.info("%s %s %s %s %s %.0f ms", *told)
