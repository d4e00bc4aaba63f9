"""Event streams: writes the binary messages of application/vnd.amazon.eventstream, a response part by part.

    +--------------+----------------+-------------+---------+---------+-------------+
    | total length | headers length | CRC of both | headers | payload | CRC of all  |
    +--------------+----------------+-------------+---------+---------+-------------+
       4 bytes        4 bytes          4 bytes                           4 bytes, all big-endian

A header is: length of the name (1 byte), name, type (1 byte; 7 is a text), length of the value (2 bytes), value.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from zlib import crc32

CONTENT_TYPE = "application/vnd.amazon.eventstream"

_TEXT = 7
_FRAME_BYTES = 16


def event(kind: str, payload: bytes) -> bytes:
    """Give the message of one event, as PayloadPart, whose payload are bytes."""
    return _message(
        {":event-type": kind, ":content-type": "application/octet-stream", ":message-type": "event"}, payload
    )


def exception(kind: str, members: Mapping[str, str]) -> bytes:
    """Give the message that ends a stream with an exception, as ModelStreamError."""
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return _message(headers, json.dumps(dict(members)).encode())


def _message(headers: Mapping[str, str], payload: bytes) -> bytes:
    written = b"".join(_header(name, value) for name, value in headers.items())
    lengths = struct.pack(">II", _FRAME_BYTES + len(written) + len(payload), len(written))
    head = lengths + struct.pack(">I", crc32(lengths)) + written
    return b"".join((head, payload, struct.pack(">I", crc32(payload, crc32(head)))))


def _header(name: str, value: str) -> bytes:
    text, label = value.encode(), name.encode()
    return struct.pack(">B", len(label)) + label + struct.pack(">BH", _TEXT, len(text)) + text
