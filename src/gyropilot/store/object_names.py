"""How a key becomes a place on disk and back; used by the embedded object store.

    data/Train Set.csv   ->  data/^train ^set.csv@object      its record (JSON)
                             data/^train ^set.csv@8f0c...     its bytes

Every key has one place and every place one key, on any file system: only lower-case ASCII stands for itself. An
upper-case letter is written `^` and its small form, any other byte `%` and two hex digits, an empty segment `%`, and a
long segment goes on in a folder whose name ends in `%`. So no name is `.`, `..` or absolute, none holds NUL or a
backslash, and names that differ in case or Unicode form alone stay apart. `@` parts a key from what is ours.
"""

from __future__ import annotations

import re

MAX_KEY_BYTES = 1024
RECORD_SUFFIX = "@object"

_MAX_NAME = 180  # of 255 that file systems allow: room for a suffix
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789._-=+ ,~()")
_ESCAPE = re.compile(r"\^([a-z])|%([0-9a-f]{2})")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")


def _written(byte: int) -> str:
    if byte in _PLAIN:
        return chr(byte)
    return f"^{chr(byte).lower()}" if 65 <= byte <= 90 else f"%{byte:02x}"


_WRITTEN = tuple(_written(byte) for byte in range(256))


def is_bucket_name(name: str) -> bool:
    """Say whether `name` may name a bucket: 3 to 63 of a-z, 0-9, dot and hyphen, no `..`, not an IP address."""
    return bool(_BUCKET.fullmatch(name)) and ".." not in name and not _ADDRESS.fullmatch(name)


def is_key(key: str) -> bool:
    """Say whether `key` is 1 to 1024 bytes of UTF-8."""
    try:
        return 0 < len(key.encode()) <= MAX_KEY_BYTES
    except UnicodeEncodeError:
        return False


def place(key: bytes) -> tuple[tuple[str, ...], str]:
    """Give the folders below the bucket's and the name, without suffix, under which `key` lies."""
    *parents, last = key.split(b"/")
    folders: list[str] = []
    for segment in parents:
        *chunks, rest = _chunks(segment)
        folders += [f"{chunk}%" for chunk in chunks]
        folders.append(rest)
    *chunks, rest = _chunks(last)
    return (*folders, *(f"{chunk}%" for chunk in chunks)), rest


def stem_of_folder(name: str) -> bytes:
    """Give what a folder adds to the keys in it: its segment and a slash, or the first part of a long segment."""
    if name == "%":
        return b"/"
    if name.endswith("%"):
        return read_name(name[:-1])
    return read_name(name) + b"/"


def read_name(name: str) -> bytes:
    """Give the segment that `name` stands for."""
    if name == "%":
        return b""
    if "%" not in name and "^" not in name:
        return name.encode()
    return _ESCAPE.sub(_read_escape, name).encode("latin-1")


def _read_escape(match: re.Match[str]) -> str:
    return match[1].upper() if match[1] else chr(int(match[2], 16))


def _chunks(segment: bytes) -> list[str]:
    """Give the names of a segment: all but the last are full, the last is shorter than a full one."""
    if not segment:
        return ["%"]
    if segment in (b".", b".."):
        return ["%2e" * len(segment)]
    chunks = [""]
    for byte in segment:
        if len(chunks[-1]) >= _MAX_NAME:
            chunks.append("")
        chunks[-1] += _WRITTEN[byte]
    if len(chunks[-1]) >= _MAX_NAME:
        chunks.append("%")
    return chunks
