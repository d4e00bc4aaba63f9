"""Errors as OpenAI's API writes them: the one table from our errors to its statuses, types and codes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gyropilot import errors
from gyropilot.errors import Fault, InvalidRequest, ModelFailed, NotAllowed
from gyropilot.log import printable
from gyropilot.serve.router import StreamBroken

Json = Any

_REQUEST, _SERVER = "invalid_request_error", "server_error"
_FIELD = re.compile(r"([A-Za-z_][\w.\[\]]{0,200}): ")
"""How a message of a model begins that is about one member of the request."""


class NotText(InvalidRequest):
    """An endpoint is there, and its model understands no chat or text completion."""


@dataclass(frozen=True, kw_only=True)
class OpenAIError:
    """An error as a caller sees it."""

    status: int
    kind: str
    code: str | None
    message: str
    param: str | None = None
    """The member of the request that it is about."""
    retry_seconds: int | None = None
    """When it is worth a retry."""

    def value(self) -> dict[str, Json]:
        """Give the JSON value."""
        told = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": told}

    def body(self) -> bytes:
        """Give the body of an answer."""
        return json.dumps(self.value(), ensure_ascii=False).encode()

    def event(self) -> bytes:
        """Give the event that breaks a stream off; clients raise it."""
        return b"data: " + json.dumps(self.value()).encode() + b"\n\n"


@dataclass(frozen=True, kw_only=True)
class _Row:
    status: int
    kind: str
    code: str | None
    retry_seconds: int | None = None


_TABLE: Mapping[type, _Row] = {
    NotText: _Row(status=400, kind=_REQUEST, code="model_not_for_text"),
    errors.InvalidRequest: _Row(status=400, kind=_REQUEST, code=None),
    errors.InvalidData: _Row(status=400, kind=_REQUEST, code=None),
    errors.MalformedRequest: _Row(status=400, kind=_REQUEST, code="invalid_json"),
    errors.NotAuthentic: _Row(status=401, kind=_REQUEST, code="invalid_api_key"),
    errors.NotAllowed: _Row(status=403, kind="permission_error", code="not_allowed"),
    errors.NotFound: _Row(status=404, kind=_REQUEST, code="model_not_found"),
    errors.UnknownOperation: _Row(status=404, kind=_REQUEST, code="unknown_url"),
    errors.RequestTooLarge: _Row(status=413, kind=_REQUEST, code="request_too_large"),
    errors.Throttled: _Row(status=429, kind="rate_limit_error", code="rate_limit_exceeded", retry_seconds=1),
    errors.LimitExceeded: _Row(status=429, kind="rate_limit_error", code="busy", retry_seconds=1),
    errors.ModelNotReady: _Row(status=429, kind=_SERVER, code="model_not_ready", retry_seconds=2),
    StreamBroken: _Row(status=500, kind=_SERVER, code="stream_broken"),
    errors.Unavailable: _Row(status=503, kind=_SERVER, code="unavailable", retry_seconds=1),
}


def told(error: BaseException, *, request_id: str) -> OpenAIError:
    """Give what a caller may see of an error; of one that is not ours, nothing but the request's id."""
    if isinstance(error, ModelFailed):
        return _of_model(error)
    row = next((_TABLE[kind] for kind in type(error).__mro__ if kind in _TABLE), None)
    if row is None:
        message = f"The request failed for a reason inside the service; its log has it under {request_id}."
        return OpenAIError(status=500, kind=_SERVER, code="internal_error", message=message)
    return OpenAIError(
        status=row.status,
        kind=row.kind,
        code=row.code,
        message=printable(str(error)),
        param=_param(error),
        retry_seconds=row.retry_seconds,
    )


def _of_model(error: ModelFailed) -> OpenAIError:
    """Give what a model said of a payload that it refused, or that it broke."""
    said = printable(error.answer or str(error))
    if 400 <= error.status < 500:
        field = _FIELD.match(said)
        return OpenAIError(
            status=error.status, kind=_REQUEST, code=None, message=said, param=field[1] if field else None
        )
    if error.status == 503:
        return OpenAIError(status=503, kind=_SERVER, code="unavailable", message=said, retry_seconds=1)
    return OpenAIError(status=500, kind=_SERVER, code="model_error", message=said)


def _param(error: BaseException) -> str | None:
    faults: tuple[Fault, ...] = getattr(error, "faults", ())
    if faults and not isinstance(error, NotAllowed):
        return faults[0].where
    return "model" if isinstance(error, errors.NotFound) else None
