"""Errors of the S3 door: the one table of codes and statuses, and how an error is written."""

from __future__ import annotations

import errno
import logging
from collections.abc import Mapping

from gyropilot.errors import GyropilotError, InvalidRequest, NotAllowed, NotAuthentic, NotFound, Unavailable
from gyropilot.s3.xml import element, written

logger = logging.getLogger(__name__)

_STATUS_BY_CODE: Mapping[str, int] = {
    "AccessDenied": 403,
    "AuthorizationHeaderMalformed": 400,
    "BadDigest": 400,
    "BucketAlreadyExists": 409,
    "BucketAlreadyOwnedByYou": 409,
    "BucketNotEmpty": 409,
    "EntityTooLarge": 400,
    "EntityTooSmall": 400,
    "IllegalLocationConstraintException": 400,
    "IncompleteBody": 400,
    "InsufficientStorage": 507,
    "InternalError": 500,
    "InvalidArgument": 400,
    "InvalidBucketName": 400,
    "InvalidDigest": 400,
    "InvalidPart": 400,
    "InvalidPartOrder": 400,
    "InvalidRange": 416,
    "InvalidRequest": 400,
    "InvalidURI": 400,
    "KeyTooLongError": 400,
    "MalformedXML": 400,
    "MaxMessageLengthExceeded": 400,
    "MetadataTooLarge": 400,
    "MethodNotAllowed": 405,
    "MissingContentLength": 411,
    "NoSuchBucket": 404,
    "NoSuchKey": 404,
    "NoSuchUpload": 404,
    "NotImplemented": 501,
    "NotModified": 304,
    "PreconditionFailed": 412,
    "RequestTimeTooSkewed": 403,
    "RequestTimeout": 400,
    "ServiceUnavailable": 503,
    "SignatureDoesNotMatch": 403,
    "XAmzContentSHA256Mismatch": 400,
}
_CODE_BY_REASON: Mapping[str, str] = {
    "missing": "AccessDenied",
    "incomplete": "AuthorizationHeaderMalformed",
    "wrong": "SignatureDoesNotMatch",
    "expired": "RequestTimeTooSkewed",
}


class S3Error(Exception):
    """A request is answered with an error of S3's protocol."""

    def __init__(self, code: str, message: str, *, headers: Mapping[str, str] | None = None, **details: str) -> None:
        self.code = code
        self.status = _STATUS_BY_CODE[code]
        self.message = message
        self.headers = dict(headers or {})
        self.details = details
        super().__init__(f"{code}: {message}")

    def body(self, resource: str, request_id: str) -> bytes:
        """Give the error as XML."""
        details = [element(name, text) for name, text in self.details.items()]
        head = [element("Code", self.code), element("Message", self.message)]
        tail = [element("Resource", resource), element("RequestId", request_id)]
        return written(element("Error", *head, *details, *tail), namespace="")


def no_bucket(bucket: str) -> S3Error:
    """Give the error for a bucket that is not there."""
    return S3Error("NoSuchBucket", "The specified bucket does not exist.", BucketName=bucket)


def no_key(key: str) -> S3Error:
    """Give the error for an object that is not there."""
    return S3Error("NoSuchKey", "The specified key does not exist.", Key=key)


def no_upload(upload_id: str) -> S3Error:
    """Give the error for a multipart upload that is not there."""
    message = "The specified multipart upload does not exist: it was completed, aborted, or its id is wrong."
    return S3Error("NoSuchUpload", message, UploadId=upload_id)


def not_done(what: str) -> S3Error:
    """Give the error for a part of S3 that this door does not have."""
    return S3Error("NotImplemented", f"{what} is not implemented by this object store; docs/s3.md lists what is.")


def as_s3_error(error: Exception) -> S3Error:
    """Give the error of the protocol for any error; one we do not know is logged whole and told as internal."""
    match error:
        case S3Error():
            return error
        case NotAuthentic():
            return S3Error(_CODE_BY_REASON[error.reason], str(error))
        case NotFound():
            return S3Error("NoSuchBucket", str(error))
        case NotAllowed():
            return S3Error("AccessDenied", str(error))
        case Unavailable():
            logger.warning("the S3 door: %s (%s)", error, error.__cause__)  # one line: there may be many such calls
            return S3Error("ServiceUnavailable", "The service cannot answer just then; try again.")
        case InvalidRequest():
            return S3Error("InvalidRequest", str(error))
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return S3Error("InsufficientStorage", "The disk of the object store is full; nothing was stored.")
    logger.error("the S3 door failed", exc_info=error)
    kind = type(error).__name__ if isinstance(error, GyropilotError) else "an unforeseen fault"
    return S3Error("InternalError", f"The object store met {kind}; its log tells more.")
