"""Signature V4: verifies a request by signing it again with botocore's own signer; called by the API and the S3 door.

    SignedRequest --claim.read--> Claim (who says to have signed what, when)
                  --_check_*--> date, service, headers and payload kind are such as that door accepts
                  --_Signer--> the signature that the key's owner would have made; compared in constant time

Identity is read only from a claim that held: what `verify` returns is what the caller proved.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, Literal
from urllib.parse import SplitResult, quote, unquote

from botocore.auth import EMPTY_SHA256_HASH, S3SigV4Auth, SigV4Auth
from botocore.compat import HTTPHeaders

from gyropilot.errors import NotAuthentic
from gyropilot.wire.claim import CREDENTIAL, HEX_64, TIMESTAMP_FORMAT, Claim, pairs, read, refuse_incomplete
from gyropilot.wire.claim import SignedRequest as SignedRequest  # callers make one for verify

PayloadKind = Literal["signed", "unsigned", "chunked-signed", "chunked-signed-trailer", "chunked-unsigned-trailer"]
FindSecret = Callable[[str], "str | None"]

MAX_SKEW = timedelta(minutes=5)

_KIND_BY_MARK: Mapping[str, PayloadKind] = {
    "UNSIGNED-PAYLOAD": "unsigned",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD": "chunked-signed",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER": "chunked-signed-trailer",
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER": "chunked-unsigned-trailer",
}
_WRONG = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your access key, your secret key and the signing method."
)


@dataclass(frozen=True, kw_only=True)
class VerifiedSignature:
    """What a request proved: its key, its scope, and how its body is bound to the signature.

    `body_sha256` is the digest that the body must have (payload `signed`); a reader of a body that was not read before
    must compare. `chunks` checks aws-chunked bodies, for the two signed kinds of chunks.
    """

    access_key_id: str
    service: str
    region: str
    payload: PayloadKind
    body_sha256: str | None
    chunks: ChunkVerifier | None = field(default=None, repr=False)


class ChunkVerifier:
    """Checks the chain of signatures of an aws-chunked body; each builds on the one before, so order matters."""

    def __init__(self, sign: Callable[[str], str], *, timestamp: str, scope: str, seed: str) -> None:
        self._sign = sign
        self._timestamp = timestamp
        self._scope = scope
        self._previous = seed

    def check_chunk(self, sha256: str, signature: str) -> None:
        """Check one chunk (the last, empty one too) by the hex digest of its data.

        Raises:
            NotAuthentic: the chunk is not what the caller signed, or stands elsewhere.
        """
        self._check("AWS4-HMAC-SHA256-PAYLOAD", f"{EMPTY_SHA256_HASH}\n{sha256}", signature)

    def check_trailer(self, headers: Sequence[tuple[str, str]], signature: str) -> None:
        """Check the trailing headers, without x-amz-trailer-signature, in the order they came.

        Raises:
            NotAuthentic: they are not what the caller signed.
        """
        lines = "".join(f"{name.lower().strip()}:{value.strip()}\n" for name, value in headers)
        self._check("AWS4-HMAC-SHA256-TRAILER", hashlib.sha256(lines.encode()).hexdigest(), signature)

    def _check(self, kind: str, digests: str, signature: str) -> None:
        expected = self._sign(f"{kind}\n{self._timestamp}\n{self._scope}\n{self._previous}\n{digests}")
        if not hmac.compare_digest(expected.encode(), signature.encode()):
            raise NotAuthentic("wrong", "A chunk's signature does not match its data.")
        self._previous = expected


def service_of(headers: Iterable[tuple[bytes, bytes]], query: bytes) -> str | None:
    """Give the service that a request says to be signed for, unproven; None if it bears no signature V4.

    Takes headers and query string as ASGI has them: it is asked which door a request belongs to.
    """
    scopes = [value.decode("latin-1") for name, value in headers if name.lower() == b"authorization"]
    asked = pairs(query.decode("latin-1"))
    scopes += [unquote(value) for key, value in asked if unquote(key).lower() == "x-amz-credential"]
    for scope in scopes:
        found = CREDENTIAL.search(scope)
        if found:
            return found[4]
    return None


def check_claim(request: SignedRequest, find_secret: FindSecret, *, now: datetime, service: str | None) -> None:
    """Refuse a request whose signature cannot hold, before its body is read; what passes is not proven by that.

    Takes what `verify` does. Who asks can learn whether there is a key of an id, which is no secret.

    Raises:
        NotAuthentic: the signature is absent, malformed, out of time, or of an unknown key.
    """
    claim = _timely(request, now, service)
    if find_secret(claim.access_key_id) is None:
        raise NotAuthentic("wrong", _WRONG)


def verify(request: SignedRequest, find_secret: FindSecret, *, now: datetime, service: str | None) -> VerifiedSignature:
    """Give what the request's signature proves.

    Args:
        request: the request as it came.
        find_secret: gives the secret of an access key id, or None.
        now: the time to compare the signature's with.
        service: the only service name accepted; None accepts whichever the signature names.

    Raises:
        NotAuthentic: the signature is absent, malformed, out of time or wrong. An unknown key reads as a wrong one.
    """
    claim = _timely(request, now, service)
    payload, payload_hash = _payload(claim, request)
    secret = find_secret(claim.access_key_id)
    signer = _Signer(claim, secret or "an unknown key costs the same time as a known one")
    holds = False
    for candidate in signer.expected(request, payload_hash):
        holds |= hmac.compare_digest(candidate.encode(), claim.signature.encode())
    if secret is None or not holds:
        raise NotAuthentic("wrong", _WRONG)
    return VerifiedSignature(
        access_key_id=claim.access_key_id,
        service=claim.service,
        region=claim.region,
        payload=payload,
        body_sha256=payload_hash if payload == "signed" else None,
        chunks=signer.chunks() if payload in ("chunked-signed", "chunked-signed-trailer") else None,
    )


def _timely(request: SignedRequest, now: datetime, service: str | None) -> Claim:
    """Give the claim of a request after all that can be held against it without a secret."""
    claim = read(request)
    _check_time(claim, now)
    if service is not None and claim.service != service:
        raise NotAuthentic("wrong", f"Credential should be scoped to the service '{service}'.")
    _check_headers(claim, request)
    return claim


def _check_time(claim: Claim, now: datetime) -> None:
    try:
        signed_at = datetime.strptime(claim.timestamp, TIMESTAMP_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        refuse_incomplete("the date is no date")
    shown = now.astimezone(UTC).strftime(TIMESTAMP_FORMAT)
    if signed_at - now > MAX_SKEW:
        raise NotAuthentic("expired", f"Signature not yet current: {claim.timestamp} is later than {shown} + 5 min.")
    lifetime = MAX_SKEW if claim.valid_seconds is None else timedelta(seconds=claim.valid_seconds)
    if now - signed_at > lifetime:
        raise NotAuthentic("expired", f"Signature expired: {claim.timestamp} is too far before {shown}.")


def _check_headers(claim: Claim, request: SignedRequest) -> None:
    present = {name.lower() for name, _ in request.headers}
    required = {"host"} | {name for name in present if name.startswith(("x-amz-", "x-amzn-sagemaker-"))}
    if not claim.is_presigned and "x-amz-date" not in present:
        required.add("date")
    if claim.service != "s3":
        required |= {"x-amz-target", "content-type"} & present
    for name in sorted(required - set(claim.signed_names)):
        refuse_incomplete(f"the header '{name}' must be signed")
    for name in claim.signed_names:
        if name not in present:
            refuse_incomplete(f"the signed header '{name}' is not in the request")
    query_names = {unquote(key).lower() for key, _ in pairs(request.query)}
    if "x-amz-security-token" in present | query_names:
        raise NotAuthentic(
            "wrong",
            "The security token included in the request is invalid: no temporary keys are issued here, "
            "unset AWS_SESSION_TOKEN.",
        )


def _payload(claim: Claim, request: SignedRequest) -> tuple[PayloadKind, str]:
    """Give the payload kind and the text that stands for the payload in the canonical request."""
    stated = next((value.strip() for name, value in request.headers if name.lower() == "x-amz-content-sha256"), None)
    if claim.service != "s3":
        return _payload_of_api(claim, request, stated)
    if claim.is_presigned:
        if request.method not in ("GET", "HEAD", "PUT"):
            refuse_incomplete("presigned URLs are accepted for GET, HEAD and PUT")
        stated = stated or "UNSIGNED-PAYLOAD"
    if stated is None:
        refuse_incomplete("it needs X-Amz-Content-SHA256")
    if stated in _KIND_BY_MARK:
        return _KIND_BY_MARK[stated], stated
    if not HEX_64.fullmatch(stated):
        refuse_incomplete("X-Amz-Content-SHA256 is neither a digest nor a payload type known here")
    if request.body_sha256 not in (None, stated):
        raise NotAuthentic("wrong", "The body does not have the digest that X-Amz-Content-SHA256 states.")
    return "signed", stated


def _payload_of_api(claim: Claim, request: SignedRequest, stated: str | None) -> tuple[PayloadKind, str]:
    if claim.is_presigned:
        refuse_incomplete("this service takes no signature in the query string")
    if stated is not None and not HEX_64.fullmatch(stated):
        refuse_incomplete("this service takes no unsigned or streamed payload")
    if request.body_sha256 is None:
        raise ValueError("the digest of the body is needed to verify a request to this service")
    if stated not in (None, request.body_sha256):
        raise NotAuthentic("wrong", _WRONG)
    return "signed", request.body_sha256


class _Signer:
    """Signs what a claim covers, by botocore's signer, with the secret of the claimed key."""

    def __init__(self, claim: Claim, secret: str) -> None:
        keys = SimpleNamespace(access_key=claim.access_key_id, secret_key=secret, token=None)
        kind = S3SigV4Auth if claim.service == "s3" else SigV4Auth
        self._claim = claim
        self._auth: Any = kind(keys, claim.service, claim.region)
        self._context = SimpleNamespace(context={"timestamp": claim.timestamp})

    def expected(self, request: SignedRequest, payload_hash: str) -> set[str]:
        """Give the signatures that hold.

        They are two where path or query are not written in the canonical encoding: some clients sign what they send,
        some sign the canonical form; both decode to the same request.
        """
        headers = HTTPHeaders()
        for name, value in request.headers:
            if name.lower() in self._claim.signed_names:
                headers[name.lower()] = _as_sent(value)
        middle = f"{self._auth.canonical_headers(headers)}\n\n{self._auth.signed_headers(headers)}\n{payload_hash}"
        targets = {(path, query) for path in self._paths(request.path) for query in self._queries(request.query)}
        return {self._sign_canonical(f"{request.method.upper()}\n{p}\n{q}\n{middle}") for p, q in targets}

    def chunks(self) -> ChunkVerifier:
        """Give the verifier of the body's chunks; its chain starts at the request's signature."""
        return ChunkVerifier(
            self._sign,
            timestamp=self._claim.timestamp,
            scope=self._auth.credential_scope(self._context),
            seed=self._claim.signature,
        )

    def _sign_canonical(self, canonical_request: str) -> str:
        return self._sign(self._auth.string_to_sign(self._context, canonical_request))

    def _sign(self, text: str) -> str:
        signature: str = self._auth.signature(text, self._context)
        return signature

    def _paths(self, path: str) -> set[str]:
        written: str = self._auth._normalize_url_path(path or "/")
        if self._claim.service != "s3":
            return {written}
        return {written, quote(unquote(path), safe="/-_.~")}

    def _queries(self, query: str) -> set[str]:
        kept = [(key, value) for key, value in pairs(query) if unquote(key) != "X-Amz-Signature"]
        written = "&".join(f"{key}={value}" for key, value in kept)
        encoded = "&".join(f"{_encoded(key)}={_encoded(value)}" for key, value in kept)
        sort = self._auth._canonical_query_string_url
        return {sort(SplitResult("", "", "", text, "")) for text in (written, encoded)}


def _encoded(text: str) -> str:
    return quote(unquote(text), safe="-_.~")


def _as_sent(value: str) -> str:
    """Give a header value as the text its bytes spell in UTF-8, which is what clients sign."""
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value
