"""A conversation with a text endpoint, over the service's OpenAI-compatible API: the server applies the chat template.

chat = client.chat("my-endpoint")
for text in chat.say("Hello"):
    print(text, end="", flush=True)
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Generator, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from gyropilot.sdk.connection import Connection
from gyropilot.sdk.errors import BrokenOff, Refused, Unreachable

Json = Any

_SECONDS = 600.0
_DATA = b"data:"


class Chat:
    """A conversation; `messages` holds what was said so far, as OpenAI's API has it."""

    def __init__(
        self, connection: Connection, endpoint: str, *, system: str = "", options: Mapping[str, Json] | None = None
    ) -> None:
        self.endpoint = endpoint
        self.options = dict(options or {})
        """Further members of the request, as temperature and max_tokens."""
        self.messages: list[dict[str, str]] = []
        self.finish_reason = ""
        """Why the last answer ended: `stop`, `length`; empty where it was broken off."""
        self._connection = connection
        self.reset(system=system)

    def reset(self, *, system: str = "") -> None:
        """Forget what was said; `system` is what the model is told first, empty for nothing."""
        self.messages = [{"role": "system", "content": system}] if system else []

    def check(self) -> None:
        """Ask whether the endpoint is there, answers, and is for text.

        Raises:
            Refused: it is not; the message says why and what to do.
            Unreachable: no answer came.
        """
        with self._open("GET", f"/v1/models/{quote(self.endpoint, safe='')}", None):
            pass

    def say(self, text: str) -> Generator[str, None, None]:
        """Give the answer as it comes; both are remembered, an answer that is not read to its end as far as it came.

        Raises:
            Refused: the endpoint does not take it; nothing is remembered then.
            Unreachable: no answer came; nothing is remembered.
            BrokenOff: the answer ended before its end.
        """
        asked = [*self.messages, {"role": "user", "content": text}]
        body = {"model": self.endpoint, "messages": asked, "stream": True, **self.options}
        self.finish_reason = ""
        with self._open("POST", "/v1/chat/completions", body) as response:
            self.messages = asked
            yield from self._told(response)

    def _told(self, response: http.client.HTTPResponse) -> Iterator[str]:
        said: list[str] = []
        try:
            for chunk in self._chunks(response):
                for choice in chunk.get("choices", ()):
                    self.finish_reason = choice.get("finish_reason") or ""
                    if part := choice.get("delta", {}).get("content"):
                        said.append(part)
                        yield part
        finally:
            self.messages.append({"role": "assistant", "content": "".join(said)})

    def _chunks(self, response: http.client.HTTPResponse) -> Iterator[dict[str, Json]]:
        try:
            for line in response:
                data = line.removeprefix(_DATA).strip() if line.startswith(_DATA) else b""
                if data == b"[DONE]":
                    return
                if data:
                    yield self._chunk(data)
        except (OSError, http.client.HTTPException) as error:
            raise BrokenOff(f"the answer of {self.endpoint} broke off ({error}); ask again") from error
        raise BrokenOff(f"the answer of {self.endpoint} ended before its end; ask again")

    def _chunk(self, data: bytes) -> dict[str, Json]:
        chunk: dict[str, Json] = json.loads(data)
        if "error" in chunk:
            raise BrokenOff(f"the answer of {self.endpoint} broke off: {chunk['error']['message']}")
        return chunk

    def _open(self, method: str, path: str, body: Json) -> http.client.HTTPResponse:
        """Send a request; proxies of the machine are for the world outside."""
        url = self._connection.url.rstrip("/")
        data = None if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {self._connection.bearer_token()}", "content-type": "application/json"}
        request = urllib.request.Request(f"{url}{path}", data=data, headers=headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            opened: http.client.HTTPResponse = opener.open(request, timeout=_SECONDS)
        except urllib.error.HTTPError as error:
            raise _refused(error) from error
        except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
            raise Unreachable(f"{url} does not answer; is it running? gyropilot doctor tells") from error
        return opened


def _refused(error: urllib.error.HTTPError) -> Refused:
    with error:
        data = error.read()
    try:
        told = json.loads(data)["error"]
        code, message = told.get("code") or told["type"], told["message"]
    except (ValueError, LookupError, TypeError, AttributeError):
        code, message = "", data[:200].decode(errors="replace")
    return Refused(code=code or f"HTTP {error.code}", message=message, status=error.code)
