"""Reads the column names of an object before a job is created; in the service, in bounded memory.

Of CSV the beginning is read. Of Parquet the footer's list of columns is, by our own walk: Arrow never enters the
service's process.
"""

from __future__ import annotations

import csv
import io
import zlib

from gyropilot.data import csv_files, gzip_files, kinds, parquet_files, thrift
from gyropilot.data.frames import PARQUET
from gyropilot.data.header_names import MAX_COLUMNS, header_columns
from gyropilot.errors import InvalidData
from gyropilot.store.objects import ObjectInfo, Objects

HEAD_BYTES = 1 << 20
"""How much of an object is read."""
_BOM = "\ufeff"
_GZIP_WINDOW = 31
_SCHEMA, _NAME, _CHILDREN = 2, 4, 5
"""Fields of Parquet's FileMetaData, and of its SchemaElement."""
_UNTOLD = (OSError, UnicodeDecodeError, csv.Error, zlib.error, thrift.NotThrift, thrift.TooMany)


def read_columns(objects: Objects, info: ObjectInfo, *, content_type: str, compression: str) -> tuple[str, ...] | None:
    """Give the column names of an object; None where what is read of it does not tell them: then the job does.

    Args:
        objects: where it lies.
        info: the object.
        content_type: of its channel.
        compression: of its channel: `None` or `Gzip`.

    Raises:
        InvalidData: no job can read it: it is empty, of another kind, or its header cannot name a table's columns.
        NotAllowed: it may not be read.
    """
    kind = content_type.partition(";")[0].strip().lower()
    try:
        if kind == PARQUET and compression == "None":
            return _parquet_columns(objects, info)
        return _csv_columns(objects, info, is_gzip=compression == "Gzip") if kind == "text/csv" else None
    except _UNTOLD:
        return None  # the job itself tells what is wrong, with row and column


def _csv_columns(objects: Objects, info: ObjectInfo, *, is_gzip: bool) -> tuple[str, ...] | None:
    head = _head(objects, info, is_gzip=is_gzip)
    start = head[: kinds.TEXT_START_BYTES]
    csv_files.check_kind(start, info.uri)
    fields = _first_record(head)
    if fields is None:
        return None
    try:
        return header_columns(fields, info.uri)
    except InvalidData:
        csv_files.check_text_kind(start, info.uri)
        raise


def _head(objects: Objects, info: ObjectInfo, *, is_gzip: bool) -> bytes:
    unpacker = zlib.decompressobj(_GZIP_WINDOW) if is_gzip else None
    head = b""
    blocks = objects.stream(info.bucket, info.key, etag=info.etag)
    for number, block in enumerate(blocks):
        if unpacker is not None and number == 0:
            gzip_files.check_start(block[: kinds.TEXT_START_BYTES], info.uri)
        head += block if unpacker is None else unpacker.decompress(block, HEAD_BYTES)
        if len(head) >= HEAD_BYTES or b"\n" in head.lstrip():
            break
    return head[:HEAD_BYTES]


def _first_record(head: bytes) -> list[str] | None:
    """Give the fields of the first record, where its end lies within what was read."""
    if b"\0" in head:
        return None
    if b"\n" not in head and len(head) == HEAD_BYTES:
        return None
    lines = head.rpartition(b"\n")[0] or head
    text = lines.decode("utf-8").removeprefix(_BOM)
    csv.field_size_limit(max(csv.field_size_limit(), HEAD_BYTES))  # of the whole process
    return next((fields for fields in csv.reader(io.StringIO(text, newline=""), strict=True) if fields), None)


def _parquet_columns(objects: Objects, info: ObjectInfo) -> tuple[str, ...] | None:
    parquet_files.check_start(_bytes(objects, info, start=0, length=kinds.TEXT_START_BYTES), info.uri)
    end_at = max(0, info.size_bytes - parquet_files.END_BYTES)
    end = _bytes(objects, info, start=end_at, length=parquet_files.END_BYTES)
    length = parquet_files.footer_length(end, info.size_bytes, info.uri)
    # Columns stand first in the footer; row groups, which take most of it, follow.
    footer = _bytes(objects, info, start=end_at - length, length=min(length, HEAD_BYTES))
    (root, _), *elements = thrift.structs_of(footer, field=_SCHEMA, at_most=MAX_COLUMNS + 1)
    if root.get(_CHILDREN) != len(elements):
        return None  # columns within columns, which the job names
    return header_columns([texts.get(_NAME, b"").decode("utf-8") for _, texts in elements], info.uri)


def _bytes(objects: Objects, info: ObjectInfo, *, start: int, length: int) -> bytes:
    """Give so many bytes of an object, or fewer where it ends before."""
    found = b""
    for block in objects.stream(info.bucket, info.key, etag=info.etag, start=start):
        found += block
        if len(found) >= length:
            break
    return found[:length]
