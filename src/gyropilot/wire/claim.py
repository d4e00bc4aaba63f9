"""The claim of a signature: which key says to have signed what, and when, read from a request and not yet proven."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import NoReturn
from urllib.parse import unquote

from gyropilot.errors import NotAuthentic

MAX_PRESIGNED_SECONDS = 7 * 24 * 3600
TIMESTAMP_FORMAT = "%Y%m%dT%H%M%SZ"
CREDENTIAL = re.compile(r"([!-+\--.0-~]{1,128})/(\d{8})/([a-z0-9-]{1,64})/([a-z0-9.-]{1,64})/aws4_request", re.ASCII)
HEX_64 = re.compile(r"[0-9a-f]{64}")

_ALGORITHM = "AWS4-HMAC-SHA256"
_TIMESTAMP = re.compile(r"[0-9]{8}T[0-9]{6}Z")
# A second copy of one of these could be read by one layer while the signature covers the other.
_ONCE = frozenset(
    {"authorization", "content-length", "content-type", "date", "host", "transfer-encoding", "x-amz-content-sha256"}
    | {"x-amz-date", "x-amz-security-token", "x-amz-target"}
)
_QUERY_MARKS = frozenset({"x-amz-algorithm", "x-amz-credential", "x-amz-signature", "signature", "awsaccesskeyid"})


@dataclass(frozen=True, kw_only=True)
class SignedRequest:
    """What a signature may cover, as it came over the wire.

    `path` and `query` are raw (undecoded, without `?`); header values are decoded as Latin-1, in order, with
    duplicates; `body_sha256` is the hex digest of the body where it was read already.
    """

    method: str
    path: str
    query: str
    headers: Sequence[tuple[str, str]]
    body_sha256: str | None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A signature as the request states it."""

    access_key_id: str
    day: str
    region: str
    service: str
    signed_names: tuple[str, ...]
    signature: str
    timestamp: str
    valid_seconds: int | None
    """Lifetime of a presigned URL; None for a signature in the header."""

    @property
    def is_presigned(self) -> bool:
        """Whether the signature stands in the query string."""
        return self.valid_seconds is not None


def read(request: SignedRequest) -> Claim:
    """Give what the request states about its signature.

    Raises:
        NotAuthentic: it states nothing, or not all of it, or something twice.
    """
    counts = Counter(name.lower() for name, _ in request.headers)
    for name in sorted(_ONCE & counts.keys()):
        if counts[name] > 1:
            refuse_incomplete(f"the header '{name}' appears more than once")
    if {"content-length", "transfer-encoding"} <= counts.keys():
        refuse_incomplete("the body's length is told twice, by Content-Length and by Transfer-Encoding")
    headers = {name.lower(): value for name, value in request.headers}
    query = {unquote(key): unquote(value) for key, value in pairs(request.query)}
    is_presigned = bool(_QUERY_MARKS & {key.lower() for key in query})
    if is_presigned and "authorization" in headers:
        refuse_incomplete("it is signed both in a header and in the query string")
    if is_presigned:
        return _read_query(query, request)
    if "authorization" not in headers:
        raise NotAuthentic("missing", "Missing Authentication Token")
    return _read_header(headers)


def _read_header(headers: Mapping[str, str]) -> Claim:
    algorithm, _, rest = headers["authorization"].strip().partition(" ")
    if algorithm.lower() == "bearer":
        raise NotAuthentic(
            "incomplete",
            "Bearer tokens open the OpenAI-compatible API at /v1 alone; calls here are signed with an access key,"
            " as AWS clients do.",
        )
    if algorithm != _ALGORITHM:
        refuse_incomplete(f"Authorization must begin with {_ALGORITHM}")
    parts = [part.strip().partition("=") for part in rest.split(",")]
    given = {name: value for name, _, value in parts}
    if len(parts) != 3 or given.keys() != {"Credential", "SignedHeaders", "Signature"}:
        refuse_incomplete("Authorization must have Credential, SignedHeaders and Signature, each once")
    return _claim(
        credential=given["Credential"],
        signed_headers=given["SignedHeaders"],
        signature=given["Signature"],
        timestamp=_header_time(headers),
        valid_seconds=None,
    )


def _read_query(query: Mapping[str, str], request: SignedRequest) -> Claim:
    if query.get("X-Amz-Algorithm") != _ALGORITHM:
        refuse_incomplete(f"a presigned request needs X-Amz-Algorithm={_ALGORITHM}")
    keys = [unquote(key) for key, _ in pairs(request.query)]
    for name in ("Credential", "SignedHeaders", "Signature", "Date", "Expires"):
        if keys.count(f"X-Amz-{name}") != 1:
            refuse_incomplete(f"a presigned request needs X-Amz-{name} once")
    expires = query["X-Amz-Expires"]
    if not re.fullmatch(r"[0-9]{1,6}", expires) or not 1 <= int(expires) <= MAX_PRESIGNED_SECONDS:
        refuse_incomplete(f"X-Amz-Expires must be 1 to {MAX_PRESIGNED_SECONDS} seconds")
    return _claim(
        credential=query["X-Amz-Credential"],
        signed_headers=query["X-Amz-SignedHeaders"],
        signature=query["X-Amz-Signature"],
        timestamp=query["X-Amz-Date"],
        valid_seconds=int(expires),
    )


def _claim(*, credential: str, signed_headers: str, signature: str, timestamp: str, valid_seconds: int | None) -> Claim:
    scope = CREDENTIAL.fullmatch(credential)
    if scope is None:
        refuse_incomplete("Credential must read <access key>/<yyyymmdd>/<region>/<service>/aws4_request")
    if not HEX_64.fullmatch(signature):
        refuse_incomplete("Signature must be 64 hex digits")
    names = signed_headers.split(";")
    if names != sorted(set(names)) or signed_headers != signed_headers.lower() or "" in names:
        refuse_incomplete("SignedHeaders must be lower-case names, sorted, each once")
    if not _TIMESTAMP.fullmatch(timestamp) or not timestamp.startswith(scope[2]):
        refuse_incomplete("the date must read yyyymmddThhmmssZ and fall on the day of the Credential")
    return Claim(
        access_key_id=scope[1],
        day=scope[2],
        region=scope[3],
        service=scope[4],
        signed_names=tuple(names),
        signature=signature,
        timestamp=timestamp,
        valid_seconds=valid_seconds,
    )


def _header_time(headers: Mapping[str, str]) -> str:
    if "x-amz-date" in headers:
        return headers["x-amz-date"].strip()
    date = headers.get("date", "").strip()
    if not date:
        refuse_incomplete("it needs X-Amz-Date or Date")
    if _TIMESTAMP.fullmatch(date):
        return date
    try:
        moment = parsedate_to_datetime(date)
        # "-0000" reads as naive though it is UTC; botocore writes it so.
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC).strftime(TIMESTAMP_FORMAT)
    except (ValueError, OverflowError):
        return date


def pairs(query: str) -> list[tuple[str, str]]:
    """Give the raw name and value of each query parameter; `a` alone reads `a=`."""
    parts = [pair.partition("=") for pair in query.split("&") if pair]
    return [(key, value) for key, _, value in parts]


def refuse_incomplete(problem: str) -> NoReturn:
    """Raise the error of a signature that lacks something or is malformed."""
    raise NotAuthentic("incomplete", f"The signature is incomplete: {problem}.")
