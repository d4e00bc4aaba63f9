"""Brings an input object to disk and opens it for reading; gzip is unpacked as it is read, never to disk.

What a compressed object unpacks to is bounded, and none of it is held but the payload that is made of it.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from gyropilot.data.transform_inputs import TransformObject
from gyropilot.errors import InvalidData
from gyropilot.store.objects import Objects

MOST_UNPACKED_BYTES = 64 * 2**30
"""What one compressed object may unpack to."""


class Source(Protocol):
    """An input object, opened."""

    def readline(self, size: int) -> bytes:
        """Give bytes up to and with the next newline, `size` at most; nothing at the end."""

    def read(self, size: int) -> bytes:
        """Give up to `size` bytes; less only at the end."""

    def skip(self, size: int) -> None:
        """Pass over bytes that were read before."""


def fetch(objects: Objects, pinned: TransformObject, to: Path) -> None:
    """Copy the object into a file.

    Raises:
        InvalidData: it is gone, or not the one that was pinned.
        NotAllowed: the role may not read it any more.
    """
    objects.fetch(pinned.bucket, pinned.key, to, etag=pinned.etag)


@contextmanager
def opened(path: Path, *, is_gzip: bool, uri: str, most_bytes: int = MOST_UNPACKED_BYTES) -> Iterator[Source]:
    """Give the object's content, unpacked where it is compressed."""
    with path.open("rb") as file:
        if is_gzip:
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield _GzipSource(unpacked, uri, most_bytes)
        else:
            yield _FileSource(file)


class _FileSource:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def readline(self, size: int) -> bytes:
        return self._file.readline(size)

    def read(self, size: int) -> bytes:
        return self._file.read(size)

    def skip(self, size: int) -> None:
        self._file.seek(size, 1)


class _GzipSource:
    def __init__(self, file: gzip.GzipFile, uri: str, most_bytes: int) -> None:
        self._file, self._uri, self._left = file, uri, most_bytes
        self._most = most_bytes

    def readline(self, size: int) -> bytes:
        return self._counted(self._told(lambda: self._file.readline(size)))

    def read(self, size: int) -> bytes:
        return self._counted(self._told(lambda: self._file.read(size)))

    def skip(self, size: int) -> None:
        while size > 0 and (passed := self.read(min(size, 2**20))):
            size -= len(passed)

    def _told(self, read: Callable[[], bytes]) -> bytes:
        try:
            return read()
        except (OSError, EOFError, zlib.error) as error:
            raise InvalidData(
                where=self._uri,
                problem=f"is no whole gzip object: {error}",
                fix="compress it anew, or leave TransformInput.CompressionType out if it is not compressed",
            ) from error

    def _counted(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise InvalidData(
                where=self._uri,
                problem=f"unpacks to more than {self._most} bytes",
                fix="write several smaller objects",
            )
        return data
