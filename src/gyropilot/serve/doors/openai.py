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

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gyropilot.control.entrance import Caller
from gyropilot.control.house import House
from gyropilot.errors import InvalidRequest, MalformedRequest, NotAuthentic, Unavailable, UnknownOperation
from gyropilot.problems.contract import Style
from gyropilot.serve.doors import openai_errors, openai_models
from gyropilot.serve.doors.knocks import App, Door, Knock, Shared
from gyropilot.serve.doors.openai_models import TextModels
from gyropilot.serve.replicas.client import ReplicaCall
from gyropilot.serve.router import StreamBroken, Target
from gyropilot.wire import bearer

Json = Any

PATH_PREFIX = "/v1/"
THREADS = 16
JSON_TYPE = "application/json"

_MODELS = "/v1/models"
_STYLES: Mapping[str, Style] = {"/v1/chat/completions": "chat", "/v1/completions": "completion"}
_ANSWERED = f"GET {_MODELS}, GET {_MODELS}/ID, " + " and ".join(f"POST {path}" for path in _STYLES)
_NAME_CHARACTERS = 63

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class _Knock(Knock):
    """A request that bears a token, and what is known of it so far."""

    id_header = "x-request-id"

    model: str = "-"

    @property
    def asked(self) -> str:
        """What is asked, as `GET /v1/models`."""
        return f"{self.scope['method']} {self.path}"

    @property
    def path(self) -> str:
        """The path, decoded."""
        return str(self.scope["path"]).rstrip("/")


@dataclass(frozen=True, kw_only=True)
class _Planned:
    """A call on a model, ready to be sent."""

    target: Target
    call: ReplicaCall
    is_streamed: bool


def make_app(house: House, shared: Shared | None = None) -> App:
    """Give the app that answers OpenAI's calls for a house; `shared` by default is this door's own."""
    return _Door(house, shared or Shared.of(house))


class _Door(Door[_Knock]):
    """The parts that all calls use."""

    def __init__(self, house: House, shared: Shared) -> None:
        super().__init__(house, shared, _Knock, threads=THREADS, name="openai")
        self._models = TextModels(house, shared.router)

    async def _answer(self, knock: _Knock) -> None:
        self._entrance.check_source(knock.headers, knock.scope.get("server"))
        await self._in_thread(self._admit, knock)
        style = _STYLES.get(knock.path) if knock.scope["method"] == "POST" else None
        if style is None:
            told = await self._in_thread(self._told, knock)
            await knock.answer(200, [("content-type", JSON_TYPE)], json.dumps(told).encode())
            return
        body = await knock.room.read(knock.receive, knock.header("content-length") or "0", knock.access_key_id)
        planned = await self._in_thread(self._planned, knock, body, style)
        work = self._stream(knock, planned) if planned.is_streamed else self._invoke(knock, planned)
        await self._while_client_reads(knock, work)

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
        await knock.answer(200, [("content-type", answer.content_type)], answer.body)

    async def _stream(self, knock: _Knock, planned: _Planned) -> None:
        async with self._router.stream(planned.target, planned.call) as answer:
            await knock.begin(200, [("content-type", answer.content_type)])
            async for part in answer.parts:
                await knock.more(part)
            await knock.more(b"", is_last=True)

    async def _answer_error(self, knock: _Knock, error: Exception) -> None:
        told = openai_errors.told(error, request_id=knock.request_id)
        knock.error_code = error.trouble if isinstance(error, StreamBroken) else told.code or told.kind
        if isinstance(error, Unavailable):
            logger.warning("%s %s: %s (%s)", knock.request_id, knock.path, error, error.__cause__)
        elif told.code == "internal_error":
            logger.error("%s %s failed", knock.request_id, knock.path, exc_info=error)
        if knock.is_begun:
            await knock.more(told.event(), is_last=True)
            return
        retry = [("retry-after", str(told.retry_seconds))] if told.retry_seconds is not None else []
        await knock.answer(told.status, [("content-type", JSON_TYPE), *retry], told.body())

    def _log(self, knock: _Knock, seconds: float) -> None:
        model, path = knock.model[:_NAME_CHARACTERS], knock.path[:100]
        told = (knock.request_id, path, model, knock.access_key_id, knock.outcome, seconds * 1000)
        logger.info("%s %s %s %s %s %.0f ms", *told)


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
