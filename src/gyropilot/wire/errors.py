"""The one table from our errors to the wire's codes and statuses, and how an error is written."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from xml.sax.saxutils import escape

from gyropilot import errors
from gyropilot.errors import NotAuthentic
from gyropilot.log import printable

Json = Any


@dataclass(frozen=True, kw_only=True)
class WireError:
    """An error as a caller sees it."""

    code: str
    status: int
    message: str
    is_modelled: bool = False
    members: Mapping[str, Json] = field(default_factory=dict)
    """What the model of the error has beside its message."""

    def body(self) -> bytes:
        """Give the JSON body; modelled errors have the member `Message`, the common ones `message`."""
        member = "Message" if self.is_modelled else "message"
        return json.dumps({"__type": self.code, member: self.message}, ensure_ascii=False).encode()

    def rest_body(self) -> bytes:
        """Give the JSON body of a REST service, whose clients read the code in the header x-amzn-ErrorType."""
        member = "Message" if self.is_modelled else "message"
        return json.dumps({member: self.message} | dict(self.members), ensure_ascii=False).encode()

    def in_query_protocol(self) -> WireError:
        """Give the error under the code and status that clients of the query protocol know it by."""
        code = _QUERY_CODES.get(self.code, self.code)
        return replace(self, code=code, status=_QUERY_STATUSES.get(code, self.status))

    def xml_body(self, request_id: str) -> bytes:
        """Give the body for clients of the query protocol, such as those of sts and iam."""
        at_fault = "Sender" if self.status < 500 else "Receiver"
        error = f"<Type>{at_fault}</Type><Code>{escape(self.code)}</Code><Message>{escape(self.message)}</Message>"
        request = f"<RequestId>{escape(request_id)}</RequestId>"
        return f"<ErrorResponse><Error>{error}</Error>{request}</ErrorResponse>".encode()


@dataclass(frozen=True, kw_only=True)
class _Row:
    code: str
    status: int
    unmodelled_code: str = ""
    """What stands in for the code where an operation's model does not name it."""
    elsewhere: tuple[str, ...] = ()
    """The names that the models of other services have for it."""

    def code_in(self, modelled: Container[str]) -> str:
        """Give the code that an operation with these modelled ones knows the error by."""
        named = next((code for code in (self.code, *self.elsewhere) if code in modelled), None)
        return named or self.unmodelled_code or self.code


_INVALID = ("InvalidParameterException", "ValidationError")
_NOT_FOUND = ("ResourceNotFoundException", "NoSuchEntityException", "ValidationError")
_TABLE: Mapping[type, _Row] = {
    errors.InvalidRequest: _Row(code="ValidationException", status=400, elsewhere=_INVALID),
    errors.InvalidShape: _Row(code="ValidationException", status=400, elsewhere=_INVALID),
    errors.InvalidData: _Row(code="ValidationException", status=400, elsewhere=_INVALID),
    errors.MissingExtra: _Row(code="ValidationException", status=400, elsewhere=_INVALID),
    errors.MalformedRequest: _Row(code="SerializationException", status=400),
    errors.RequestTooLarge: _Row(code="RequestEntityTooLargeException", status=413),
    errors.NotFound: _Row(
        code="ResourceNotFound", status=400, unmodelled_code="ValidationException", elsewhere=_NOT_FOUND
    ),
    errors.AlreadyExists: _Row(code="ResourceInUse", status=400, unmodelled_code="ValidationException"),
    errors.LimitExceeded: _Row(code="ResourceLimitExceeded", status=400, unmodelled_code="ResourceLimitExceeded"),
    errors.Throttled: _Row(code="ThrottlingException", status=400),
    errors.ModelFailed: _Row(code="ModelError", status=424),
    errors.ModelNotReady: _Row(code="ModelNotReadyException", status=429),
    errors.Unavailable: _Row(code="ServiceUnavailable", status=503, elsewhere=("ServiceUnavailableException",)),
    errors.SealBroken: _Row(code="ValidationException", status=400, elsewhere=_INVALID),
    errors.NotAllowed: _Row(code="AccessDeniedException", status=403),
    errors.UnknownOperation: _Row(code="UnknownOperationException", status=404),
}
_CODE_BY_REASON: Mapping[NotAuthentic.Reason, str] = {
    "missing": "MissingAuthenticationTokenException",
    "incomplete": "IncompleteSignatureException",
    "wrong": "InvalidSignatureException",
    "expired": "InvalidSignatureException",
}


_QUERY_CODES: Mapping[str, str] = {
    "ValidationException": "ValidationError",
    "SerializationException": "MalformedInput",
    "ThrottlingException": "Throttling",
    "AccessDeniedException": "AccessDenied",
    "UnknownOperationException": "InvalidAction",
    "MissingAuthenticationTokenException": "MissingAuthenticationToken",
    "IncompleteSignatureException": "IncompleteSignature",
    "InvalidSignatureException": "SignatureDoesNotMatch",
    "NoSuchEntityException": "NoSuchEntity",
}
_QUERY_STATUSES: Mapping[str, int] = {"InvalidAction": 400, "NoSuchEntity": 404}


def wire_error(error: BaseException, *, request_id: str, modelled: Container[str] = ()) -> WireError:
    """Give what a caller may see of an error; of one that is not ours, nothing but the request's id.

    Args:
        error: what was raised.
        request_id: the id under which the log has the whole error.
        modelled: the codes that the operation's model names.
    """
    if isinstance(error, NotAuthentic):
        return WireError(code=_CODE_BY_REASON[error.reason], status=403, message=printable(str(error)))
    row = next((_TABLE[kind] for kind in type(error).__mro__ if kind in _TABLE), None)
    if row is None:
        return WireError(
            code="InternalFailure",
            status=500,
            message=f"The request failed for a reason inside the service; its log has it under {request_id}.",
            is_modelled="InternalFailure" in modelled,
        )
    code = row.code_in(modelled)
    return WireError(
        code=code,
        status=row.status,
        message=printable(str(error)),
        is_modelled=code in modelled,
        members=_members(error) if isinstance(error, errors.ModelFailed) else {},
    )


def _members(error: errors.ModelFailed) -> dict[str, Json]:
    return {
        "OriginalStatusCode": error.status,
        "OriginalMessage": printable(error.answer),
        "LogStreamArn": error.log_stream_arn,
    }
