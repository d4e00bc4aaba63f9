"""Ranges of bytes, as Range and x-amz-copy-source-range ask for them."""

from __future__ import annotations

import re

from gyropilot.s3.errors import S3Error

_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})", re.ASCII)


def read_range(header: str | None, size_bytes: int) -> tuple[int, int] | None:
    """Give start and length of the one range a header asks for; None for the whole, also where it is no single range.

    Raises:
        S3Error: it lies outside of the object.
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or match.group(1, 2) == ("", ""):
        return None
    first, last = match[1], match[2]
    if first and last and int(last) < int(first):
        return None
    start = int(first) if first else max(size_bytes - int(last), 0)
    end = min(int(last) + 1, size_bytes) if first and last else size_bytes
    if start >= end:
        raise S3Error(
            "InvalidRange",
            "The requested range is not satisfiable.",
            headers={"Content-Range": f"bytes */{size_bytes}"},
            RangeRequested=header or "",
            ActualObjectSize=str(size_bytes),
        )
    return start, end - start


def read_copy_range(header: str | None, size_bytes: int) -> tuple[int, int]:
    """Give start and length of what a part copies of its source.

    Raises:
        S3Error: the range is not `bytes=first-last` within the source.
    """
    if header is None:
        return 0, size_bytes
    match = _RANGE.fullmatch(header.strip())
    if match is None or not match[1] or not match[2] or not int(match[1]) <= int(match[2]) < size_bytes:
        message = f"The x-amz-copy-source-range must be bytes=first-last within the source's {size_bytes} bytes."
        raise S3Error("InvalidArgument", message, ArgumentName="x-amz-copy-source-range", ArgumentValue=header)
    return int(match[1]), int(match[2]) - int(match[1]) + 1
