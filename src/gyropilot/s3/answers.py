"""How answers of the S3 door are made: XML documents, object headers, and bodies read from a file as they are sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import BinaryIO
from xml.etree.ElementTree import Element

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from gyropilot.s3 import xml
from gyropilot.s3.conditions import http_date
from gyropilot.s3.errors import as_s3_error
from gyropilot.s3.xml import element
from gyropilot.store.object_info import StoredObject

_BLOCK_BYTES = 256 * 1024
_PATIENCE_SECONDS = 10.0


def xml_answer(root: Element) -> Response:
    """Give the answer 200 with a document."""
    return Response(xml.written(root), media_type="application/xml")


def timestamp(moment: datetime) -> str:
    """Give a moment as documents carry it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def object_headers(record: StoredObject) -> dict[str, str]:
    """Give the headers that describe an object, without those of its length."""
    info, details = record.info, record.details
    headers = {
        "etag": f'"{info.etag}"',
        "last-modified": http_date(info.modified_at),
        "accept-ranges": "bytes",
        "content-type": info.content_type,
        "x-content-type-options": "nosniff",
    }
    return headers | dict(details.headers) | {f"x-amz-meta-{name}": value for name, value in details.metadata.items()}


def checksum_headers(checksums: Mapping[str, str]) -> dict[str, str]:
    """Give the headers of an object's checksums."""
    headers = {f"x-amz-checksum-{algorithm}": value for algorithm, value in checksums.items()}
    if checksums:
        headers["x-amz-checksum-type"] = checksum_type(checksums)
    return headers


def checksum_elements(checksums: Mapping[str, str]) -> Iterable[Element]:
    """Give an object's checksums as documents carry them."""
    for algorithm, value in checksums.items():
        yield element(f"Checksum{algorithm.upper()}", value)


def checksum_type(checksums: Mapping[str, str]) -> str:
    """Say whether checksums are of a whole object or of its parts' checksums."""
    return "COMPOSITE" if any("-" in value for value in checksums.values()) else "FULL_OBJECT"


class FileAnswer(Response):
    """Sends `length` bytes of an open file from `start` on, and closes it."""

    def __init__(self, file: BinaryIO, *, start: int, length: int, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(status_code=status, headers={**headers, "Content-Length": str(length)})
        self._file = file
        self._start = start
        self._length = length

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        with self._file:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            self._file.seek(self._start)
            left = self._length
            while True:
                block = await run_in_threadpool(self._file.read, min(left, _BLOCK_BYTES)) if left else b""
                if left and not block:
                    raise OSError("an object's file is shorter than its record says")
                left -= len(block)
                await send({"type": "http.response.body", "body": block, "more_body": left > 0})
                if not left:
                    return


async def slow_xml_answer(work: Callable[[], Element]) -> Response:
    """Give the document that `work` makes in a thread.

    Work that lasts is answered 200 at once and spaces are sent until it is done, so that clients do not give up; what
    fails then is told as an error in the document, where clients of S3 look for it.
    """
    task = asyncio.ensure_future(run_in_threadpool(work))
    done, _ = await asyncio.wait([task], timeout=_PATIENCE_SECONDS)
    return xml_answer(task.result()) if done else StreamingResponse(_kept_alive(task), media_type="application/xml")


async def _kept_alive(task: asyncio.Task[Element]) -> AsyncIterator[bytes]:
    declaration, newline, _ = xml.written(element("None")).partition(b"\n")
    yield declaration + newline
    while not (await asyncio.wait([task], timeout=_PATIENCE_SECONDS))[0]:
        yield b" "
    try:
        document = xml.written(task.result())
    except Exception as error:  # the status is sent: the document must tell
        document = as_s3_error(error).body("", "")
    yield document.partition(b"\n")[2]
