"""Reads the column names of an object from its beginning, before a job is created; in the service, in bounded memory.

Parquet keeps its columns at its end, where only the job itself looks: Arrow never enters the service's process.
"""

from __future__ import annotations

import csv
import io
import zlib

from gyropilot.data.frames import PARQUET
from gyropilot.errors import GyropilotError
from gyropilot.store.objects import ObjectInfo, Objects

HEAD_BYTES = 1 << 20
"""How much of an object is read."""
_BOM = "\ufeff"
_GZIP_WINDOW = 31


def read_columns(objects: Objects, info: ObjectInfo, *, content_type: str, compression: str) -> tuple[str, ...] | None:
    """Give the column names of a CSV object; None where they are not told by its beginning, or it is of another kind.

    Args:
        objects: where it lies.
        info: the object.
        content_type: of its channel.
        compression: of its channel: `None` or `Gzip`.
    """
    if content_type.partition(";")[0].strip().lower() == PARQUET:
        return None
    try:
        head = _head(objects, info, is_gzip=compression == "Gzip")
        fields = _first_record(head)
    except (GyropilotError, OSError, zlib.error, UnicodeDecodeError, csv.Error):
        return None  # the job itself tells what is wrong, with row and column
    return None if fields is None else tuple(field.strip() or f"Unnamed: {at}" for at, field in enumerate(fields))


def _head(objects: Objects, info: ObjectInfo, *, is_gzip: bool) -> bytes:
    unpacker = zlib.decompressobj(_GZIP_WINDOW) if is_gzip else None
    head = b""
    for block in objects.stream(info.bucket, info.key, etag=info.etag):
        head += block if unpacker is None else unpacker.decompress(block, HEAD_BYTES)
        if len(head) >= HEAD_BYTES or b"\n" in head:
            break
    return head[:HEAD_BYTES]


def _first_record(head: bytes) -> list[str] | None:
    """Give the fields of the first record, where its end lies within what was read."""
    if b"\0" in head:
        return None
    lines = head.rpartition(b"\n")[0] or head
    text = lines.decode("utf-8").removeprefix(_BOM)
    if b"\n" not in head and len(head) == HEAD_BYTES:
        return None
    csv.field_size_limit(max(csv.field_size_limit(), HEAD_BYTES))  # of the whole process
    return next((fields for fields in csv.reader(io.StringIO(text, newline=""), strict=True) if fields), None)
