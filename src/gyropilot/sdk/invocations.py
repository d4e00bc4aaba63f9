"""Calls to endpoints: one whole answer, or an answer part by part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from gyropilot.sdk.connection import Connection
from gyropilot.sdk.errors import BrokenOff

Json = Any

JSON_TYPE = "application/json"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What an endpoint answered."""

    body: bytes
    content_type: str
    variant: str
    """The production variant whose model answered."""


@dataclass(frozen=True, kw_only=True)
class StreamedAnswer:
    """What an endpoint answers, part by part; `parts` may raise BrokenOff."""

    parts: Iterator[bytes]
    content_type: str
    variant: str


class Invocations:
    """Invokes endpoints."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def invoke(self, endpoint: str, body: bytes, *, content_type: str, accept: str) -> Answer:
        """Give the answer to `body`; `accept` may be empty."""
        request = _request(endpoint, body, content_type, accept)
        answer = self._connection.call("sagemaker-runtime", "invoke_endpoint", request)
        try:
            data = answer["Body"].read()
        except (BotoCoreError, HTTPError) as error:
            raise _broken(endpoint, error) from error
        return Answer(
            body=data,
            content_type=answer.get("ContentType", ""),
            variant=answer.get("InvokedProductionVariant", ""),
        )

    def stream(self, endpoint: str, body: bytes, *, content_type: str, accept: str) -> StreamedAnswer:
        """Give the answer to `body` as it comes."""
        request = _request(endpoint, body, content_type, accept)
        answer = self._connection.call("sagemaker-runtime", "invoke_endpoint_with_response_stream", request)
        return StreamedAnswer(
            parts=_parts(endpoint, answer["Body"]),
            content_type=answer.get("ContentType", ""),
            variant=answer.get("InvokedProductionVariant", ""),
        )


def _request(endpoint: str, body: bytes, content_type: str, accept: str) -> dict[str, Json]:
    request = {"EndpointName": endpoint, "Body": body, "ContentType": content_type}
    return request | ({"Accept": accept} if accept else {})


def _parts(endpoint: str, events: Json) -> Iterator[bytes]:
    try:
        for event in events:
            if "PayloadPart" in event:
                yield event["PayloadPart"]["Bytes"]
    except (ClientError, BotoCoreError, HTTPError) as error:
        raise _broken(endpoint, error) from error
    finally:
        events.close()


def _broken(endpoint: str, error: Exception) -> BrokenOff:
    return BrokenOff(f"the answer of {endpoint} broke off ({error}); ask again")
