"""Opens gzip-compressed files for reading, in bounded memory, and bounds what they may become."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from typing import BinaryIO, cast

from gyropilot.data import kinds
from gyropilot.errors import InvalidData

MAX_RATIO = 200
"""How many times its size a file may become, beyond the first FREE_BYTES; tables of text reach some tens."""
FREE_BYTES = 64 * 2**20
_MAGIC = b"\x1f\x8b"


def open_gzip(path: Path, uri: str) -> BinaryIO:
    """Open the text of a gzip file; reading it raises InvalidData where it is damaged or becomes too large.

    Raises:
        InvalidData: the file is empty, or not gzip.
    """
    with path.open("rb") as file:
        check_start(file.read(kinds.TEXT_START_BYTES), uri)
    return cast(BinaryIO, io.BufferedReader(_Unpacked(path, uri), buffer_size=1 << 20))


def check_start(start: bytes, uri: str) -> None:
    """Raise InvalidData where a file that begins so is empty, or not gzip."""
    kinds.check_start(
        start,
        uri,
        magic=_MAGIC,
        wanted="gzip-compressed, as the channel's CompressionType says,",
        otherwise="plain text",
        fix="leave CompressionType out, or compress the file",
    )


class _Unpacked(io.RawIOBase):
    """The text of a gzip file, counted."""

    def __init__(self, path: Path, uri: str) -> None:
        self._uri = uri
        self._size = path.stat().st_size
        self._file = gzip.open(path, "rb")  # noqa: SIM115 - closed by close()
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what BufferedReader hands in
        try:
            data = self._file.read(len(buffer))
        except (EOFError, OSError, zlib.error) as error:
            is_cut = isinstance(error, EOFError)
            raise InvalidData(
                where=f"{self._uri}: after {self._read} unpacked bytes",
                problem="gzip data is cut" if is_cut else f"gzip data is damaged: {error}",
                fix="upload the file again, whole" if is_cut else "compress the file anew",
            ) from error
        self._read += len(data)
        if self._read > max(FREE_BYTES, MAX_RATIO * self._size):
            raise InvalidData(
                where=self._uri,
                found=f"{self._size} bytes that become more than {self._read}",
                problem=f"unpacks to more than {MAX_RATIO} times its size",
                fix="upload it uncompressed, or as Parquet",
            )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
