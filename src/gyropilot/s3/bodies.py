"""Takes a request's body in, in bounded memory, and believes it only if it is what the caller signed and summed."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from starlette.concurrency import run_in_threadpool

from gyropilot.s3 import checksums
from gyropilot.s3.chunks import ChunkedDecoder
from gyropilot.s3.errors import S3Error, not_done
from gyropilot.s3.requests import S3Request
from gyropilot.store.object_files import BLOCK_BYTES, Draft

MAX_OBJECT_BYTES = 5 << 30  # S3's limit of one put or part
MAX_DOCUMENT_BYTES = 4 << 20  # a completion of 10,000 parts with checksums has about 2.5 MB
_PATIENCE_SECONDS = 20.0
_DOCUMENT_SECONDS = 60.0
_PREFIX = "x-amz-checksum-"
_NOT_SUMS = ("x-amz-checksum-algorithm", "x-amz-checksum-mode", "x-amz-checksum-type")


async def take(request: S3Request, draft: Draft, *, algorithm: str = "") -> dict[str, str]:
    """Write the body into `draft`; give its checksums by algorithm: the one the client chose, and `algorithm`.

    Raises:
        S3Error: the body is not what the headers state.
        NotAuthentic: a chunk is not what the caller signed.
    """
    return await _Intake(request, draft, MAX_OBJECT_BYTES, stated_checksums(request), algorithm).run()


async def document(request: S3Request, *, stated: Mapping[str, str]) -> bytes:
    """Give a small body whole and soon, of which the checksums `stated` are believed; same errors as `take`."""
    sink = _Memory()
    try:
        async with asyncio.timeout(_DOCUMENT_SECONDS):
            await _Intake(request, sink, MAX_DOCUMENT_BYTES, stated, "").run()
    except TimeoutError:
        raise _too_slow() from None
    return bytes(sink.data)


async def check_unread(request: S3Request) -> None:
    """Check the body of a request whose operation reads none: the signature covers it all the same.

    Raises:
        S3Error: the body is not what the caller signed, or longer than a document.
    """
    if request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers:
        await document(request, stated={})


def stated_checksums(request: S3Request) -> dict[str, str]:
    """Give the checksums that headers state, by algorithm.

    Raises:
        S3Error: one is of an algorithm that is not known here.
    """
    names = [name for name in request.headers if name.startswith(_PREFIX) and name not in _NOT_SUMS]
    return {known_algorithm(name.removeprefix(_PREFIX)): request.headers[name] for name in names}


def known_algorithm(name: str) -> str:
    """Give the algorithm's name in small letters.

    Raises:
        S3Error: it is not known here.
    """
    if name.lower() in checksums.ALGORITHMS:
        return name.lower()
    raise not_done(f"The checksum algorithm {name}")


class _Sink(Protocol):
    def write(self, data: bytes) -> None: ...

    def md5(self) -> bytes: ...


class _Memory:
    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> None:
        self.data += data

    def md5(self) -> bytes:
        return hashlib.md5(self.data, usedforsecurity=False).digest()


class _Intake:
    """One body on its way: decoded, written, summed; compared at its end with all that the headers state of it."""

    def __init__(
        self, request: S3Request, sink: _Sink, max_bytes: int, stated: Mapping[str, str], algorithm: str
    ) -> None:
        self._request = request
        self._sink = sink
        self._trailer = request.headers.get("x-amz-trailer", "").strip().lower()
        self._stated = dict(stated)
        self._size_bytes = 0
        self._expected_bytes = _expected_bytes(request, max_bytes)
        if self._trailer:
            self._stated[known_algorithm(self._trailer.removeprefix(_PREFIX))] = ""
        if len(self._stated) > 1:
            raise S3Error("InvalidRequest", "Expecting a single x-amz-checksum- header.")
        if "x-amz-sdk-checksum-algorithm" in request.headers and not self._stated:
            raise S3Error("InvalidRequest", "x-amz-sdk-checksum-algorithm is given, but no checksum and no trailer.")
        self._sums = {name: checksums.start(name) for name in {*self._stated, *filter(None, [algorithm])}}
        self._sha256 = hashlib.sha256() if request.signature.body_sha256 else None
        self._decoder = None
        if request.signature.payload.startswith("chunked"):
            self._decoder = ChunkedDecoder(request.signature.chunks, announced_trailer=self._trailer)
        elif self._trailer:
            raise S3Error("InvalidRequest", "x-amz-trailer needs a streaming payload type in x-amz-content-sha256.")

    async def run(self) -> dict[str, str]:
        held = bytearray()
        stream = aiter(self._request.stream())
        while (block := await _next(stream)) is not None:
            held += block
            if len(held) >= BLOCK_BYTES:
                await run_in_threadpool(self._write, bytes(held))
                held.clear()
        return await run_in_threadpool(self._end, bytes(held))

    def _write(self, data: bytes) -> None:
        for part in self._decoder.feed(data) if self._decoder else [data]:
            self._size_bytes += len(part)
            if self._size_bytes > self._expected_bytes:
                raise S3Error("IncompleteBody", "The body is longer than its headers state.")
            self._sink.write(part)
            for one in (*self._sums.values(), *filter(None, [self._sha256])):
                one.update(part)

    def _end(self, rest: bytes) -> dict[str, str]:
        self._write(rest)
        if self._decoder:
            self._decoder.end()
            self._stated |= {name.removeprefix(_PREFIX): text for name, text in self._decoder.trailers.items()}
        if self._size_bytes != self._expected_bytes:
            raise S3Error("IncompleteBody", "The body is shorter than its headers state.")
        if self._sha256 and self._sha256.hexdigest() != self._request.signature.body_sha256:
            raise S3Error("XAmzContentSHA256Mismatch", "x-amz-content-sha256 is not the digest of what was received.")
        self._check_md5()
        found = {name: checksums.encoded(one.digest()) for name, one in self._sums.items()}
        for name, text in self._stated.items():
            if not hmac.compare_digest(_digest(text), _digest(found[name])):
                raise S3Error("BadDigest", f"The {name.upper()} you specified did not match what was received.")
        return found

    def _check_md5(self) -> None:
        stated = self._request.headers.get("content-md5")
        if stated is None:
            return
        if len(_digest(stated)) != 16:
            raise S3Error("InvalidDigest", "The Content-MD5 you specified is no MD5.")
        if _digest(stated) != self._sink.md5():
            raise S3Error("BadDigest", "The Content-MD5 you specified did not match what was received.")


def _expected_bytes(request: S3Request, max_bytes: int) -> int:
    is_chunked = request.signature.payload.startswith("chunked")
    text = request.headers.get("x-amz-decoded-content-length" if is_chunked else "content-length")
    if text is None and request.method == "POST":
        text = "0"  # some clients leave it out where nothing follows
    if text is None or not text.isascii() or not text.isdigit():
        raise S3Error("MissingContentLength", "You must provide the length of the body in the Content-Length header.")
    if len(text) > 15 or int(text) > max_bytes:
        raise S3Error("EntityTooLarge", "The body exceeds the size allowed.", MaxSizeAllowed=str(max_bytes))
    return int(text)


async def _next(stream: AsyncIterator[bytes]) -> bytes | None:
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return await anext(stream, None)
    except TimeoutError:
        raise _too_slow() from None


def _too_slow() -> S3Error:
    return S3Error("RequestTimeout", "The body was not sent within the timeout period.")


def _digest(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise S3Error("InvalidDigest", "A checksum is not base64.") from None
