r"""Decodes aws-chunked bodies, block by block, checking the signature of every chunk where chunks are signed.

400;chunk-signature=<hex>\r\n <1024 bytes> \r\n ... 0;chunk-signature=<hex>\r\n
x-amz-checksum-crc32:<base64>\r\n x-amz-trailer-signature:<hex>\r\n \r\n      trailers, where announced
"""

from __future__ import annotations

import hashlib
import re
from typing import Literal

from gyropilot.s3.errors import S3Error
from gyropilot.wire.signature import ChunkVerifier

_HEAD = re.compile(rb"([0-9a-fA-F]{1,8})(?:;chunk-signature=([0-9a-f]{64}))?")
_LONGEST_LINE = 4096
_TRAILER_SIGNATURE = "x-amz-trailer-signature"


class ChunkedDecoder:
    """Takes the body as it comes and gives the bytes in it; `trailers` hold once `end` has passed."""

    def __init__(self, verifier: ChunkVerifier | None, *, announced_trailer: str) -> None:
        self.trailers: dict[str, str] = {}
        self._verifier = verifier
        self._announced = announced_trailer
        self._state: Literal["head", "data", "gap", "trailer", "end"] = "head"
        self._buffer = bytearray()
        self._left = 0
        self._signature = ""
        self._sha256 = hashlib.sha256()

    def feed(self, data: bytes) -> list[bytes]:
        """Give what can be decoded now.

        Raises:
            S3Error: the body is not aws-chunked.
            NotAuthentic: a chunk or the trailer is not what the caller signed.
        """
        self._buffer += data
        decoded: list[bytes] = []
        while self._step(decoded):
            pass
        return decoded

    def end(self) -> None:
        """Say that the body ended.

        Raises:
            S3Error: it ended too early.
        """
        if self._state != "end":
            raise S3Error("IncompleteBody", "The body ended before its last chunk.")

    def _step(self, decoded: list[bytes]) -> bool:
        """Take one part from the buffer; False where it does not hold a whole one."""
        match self._state:
            case "data":
                return self._take_data(decoded)
            case "end":
                if self._buffer:
                    raise _malformed("bytes follow its last chunk")
                return False
        line = self._take_line()
        if line is None:
            return False
        match self._state:
            case "head":
                self._begin_chunk(line)
            case "gap":
                self._end_chunk(line)
            case _:
                self._take_trailer(line)
        return True

    def _take_line(self) -> bytes | None:
        at = self._buffer.find(b"\r\n", 0, _LONGEST_LINE)
        if at < 0:
            if len(self._buffer) >= _LONGEST_LINE:
                raise _malformed("a line of it is too long")
            return None
        line = bytes(self._buffer[:at])
        del self._buffer[: at + 2]
        return line

    def _begin_chunk(self, line: bytes) -> None:
        head = _HEAD.fullmatch(line)
        if head is None or (head[2] is None) != (self._verifier is None):
            raise _malformed("the head of a chunk is none")
        self._left = int(head[1], 16)
        self._signature = (head[2] or b"").decode()
        self._sha256 = hashlib.sha256()
        self._state = "data"
        if self._left == 0:
            self._check_chunk()
            self._state = "trailer"

    def _take_data(self, decoded: list[bytes]) -> bool:
        data = bytes(self._buffer[: self._left])
        if not data:
            return False
        del self._buffer[: len(data)]
        self._left -= len(data)
        if self._verifier:
            self._sha256.update(data)
        decoded.append(data)
        if self._left == 0:
            self._state = "gap"
        return True

    def _end_chunk(self, line: bytes) -> None:
        if line:
            raise _malformed("a chunk is longer than it says")
        self._check_chunk()
        self._state = "head"

    def _check_chunk(self) -> None:
        if self._verifier:
            self._verifier.check_chunk(self._sha256.hexdigest(), self._signature)

    def _take_trailer(self, line: bytes) -> None:
        if not line:
            self._check_trailers()
            self._state = "end"
            return
        name, _, value = line.decode("latin-1").partition(":")
        name = name.strip().lower()
        if name not in (self._announced, _TRAILER_SIGNATURE) or name in self.trailers:
            raise _malformed("a trailer was not announced in x-amz-trailer")
        self.trailers[name] = value.strip()

    def _check_trailers(self) -> None:
        signature = self.trailers.pop(_TRAILER_SIGNATURE, "")
        if self._announced and self._announced not in self.trailers:
            raise _malformed("the trailer that x-amz-trailer announces is missing")
        if self._verifier and self._announced:
            self._verifier.check_trailer(list(self.trailers.items()), signature)


def _malformed(problem: str) -> S3Error:
    return S3Error("InvalidRequest", f"The aws-chunked body is malformed: {problem}.")
