"""What a file is, told from its first bytes; used to name the mistake when it is not what its channel says."""

from __future__ import annotations

from gyropilot.errors import InvalidData

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"PAR1", "a Parquet file"),
    (b"PARE", "an encrypted Parquet file"),
    (b"\x1f\x8b", "gzip-compressed data"),
    (b"PK\x03\x04", "a zip archive (Excel workbooks are such)"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"BZh", "bzip2-compressed data"),
    (b"\xfd7zXZ\x00", "xz-compressed data"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed data"),
    (b"%PDF", "a PDF document"),
    (b"ARROW1", "an Arrow IPC (Feather) file"),
    (b"ORC", "an ORC file"),
    (b"Obj\x01", "an Avro file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x80\x04\x95", "a Python pickle"),
    (b"\x80\x05\x95", "a Python pickle"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x04\x22\x4d\x18", "LZ4-compressed data"),
    (b"\x1f\x9d", "data compressed by compress"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x7fELF", "a program"),
    (b"GGUF", "a GGUF model"),
    (b"\xff\xfe\x00\x00", "UTF-32 text (little-endian byte order mark)"),
    (b"\x00\x00\xfe\xff", "UTF-32 text (big-endian byte order mark)"),
    (b"\xff\xfe", "UTF-16 text (little-endian byte order mark)"),
    (b"\xfe\xff", "UTF-16 text (big-endian byte order mark)"),
)

_TEXT_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"<!doctype html", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"<?xml", "an XML document (error answers of object stores are such)"),
    (b"<", "markup, as HTML or XML"),
    (b"{", "JSON or JSON Lines"),
    (b"[", "JSON"),
    (b"version https://git-lfs", "a Git LFS pointer instead of the file it points to"),
    (b"%yaml", "YAML"),
)

MAGIC_BYTES = 16
TEXT_START_BYTES = 512
_TAR = slice(257, 262)


def binary_kind(start: bytes) -> str | None:
    """Give in words the format whose magic number `start` bears; None: none that is known."""
    for magic, words in _MAGIC:
        if start.startswith(magic):
            return words
    return "a tar archive" if start[_TAR] == b"ustar" else None


def text_kind(start: bytes) -> str | None:
    """Give in words the text format that `start` looks like; None: none that is known.

    A guess: ask only when the text has already failed to be what it should be.
    """
    lowered = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for beginning, words in _TEXT_STARTS:
        if lowered.startswith(beginning):
            return words
    return None


def check_start(start: bytes, uri: str, *, magic: bytes, wanted: str, otherwise: str, fix: str) -> None:
    """Raise InvalidData where a file that begins so is empty, or does not bear the magic number `magic`.

    Args:
        start: the first TEXT_START_BYTES of the file, or all.
        uri: what errors call it.
        magic: what it must begin with.
        wanted: what it then is, in words that follow `is not`.
        otherwise: what it may be where its kind is not known.
        fix: the mend.
    """
    if not start:
        raise empty(uri)
    if not start.startswith(magic):
        kind = binary_kind(start) or text_kind(start) or f"something else, perhaps {otherwise}"
        raise InvalidData(where=uri, found=start[:MAGIC_BYTES], problem=f"is not {wanted} but {kind}", fix=fix)


def empty(uri: str) -> InvalidData:
    """Give the error of a file without a byte."""
    return InvalidData(where=uri, problem="is empty", fix="upload the data, or remove the file")
