"""Looks at the pages of a Parquet file before Arrow unpacks them: how large each says that it will become."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from gyropilot.data import thrift
from gyropilot.errors import InvalidData

MAX_PAGE_BYTES = 32 * 2**20
"""Unpacked size of one page: Arrow unpacks pages whole."""
MAX_PAGES = 100_000
_HEADER_BYTES = (1 << 12, 1 << 16, 1 << 22)
"""How much is read to find a header, first and further; statistics in it may hold whole values."""
_UNPACKED, _PACKED = 2, 3
"""Fields of a PageHeader."""


def largest_page(path: Path, where: str, *, start: int, end: int) -> int:
    """Give the unpacked size of the largest page of one column chunk, which lies between these bytes.

    Raises:
        InvalidData: a page is too large, or its header does not fit the file.
    """
    largest, at = 0, start
    with path.open("rb") as file:
        for _ in range(MAX_PAGES):
            if at >= end:
                return largest
            numbers, length = _header(file, at, end, where)
            unpacked, packed = numbers.get(_UNPACKED, -1), numbers.get(_PACKED, -1)
            if unpacked < 0 or not 0 <= packed <= end - at - length:
                raise _damaged(where, at, f"says {packed} bytes, {unpacked} unpacked")
            # Pages that are not compressed are read as long as they lie there, whatever they say.
            size = max(unpacked, packed)
            if size > MAX_PAGE_BYTES:
                raise InvalidData(
                    where=f"{where}, page at byte {at}",
                    found=f"{packed} bytes that unpack to {unpacked}",
                    problem=f"is larger than {MAX_PAGE_BYTES // 2**20} MiB unpacked",
                    fix="write smaller pages (pyarrow: write_table(..., write_batch_size=64))",
                )
            largest, at = max(largest, size), at + length + packed
    raise InvalidData(where=where, problem=f"has more than {MAX_PAGES} pages", fix="write larger pages")


def _header(file: BinaryIO, at: int, end: int, where: str) -> tuple[dict[int, int], int]:
    for size in _HEADER_BYTES:
        file.seek(at)
        data = file.read(min(size, end - at))
        try:
            return thrift.numbers_of(data)
        except ValueError as error:
            if len(data) < size or size == _HEADER_BYTES[-1]:
                raise _damaged(where, at, str(error)) from error
    raise AssertionError


def _damaged(where: str, at: int, found: str) -> InvalidData:
    return InvalidData(
        where=f"{where}, page at byte {at}",
        found=found,
        problem="its header does not fit the file",
        fix="upload the file again, or write it anew",
    )
