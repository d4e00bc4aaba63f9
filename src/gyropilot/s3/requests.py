"""A request to the S3 door, read once: its bucket, key, query, headers and proven signature."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from gyropilot.s3.errors import S3Error
from gyropilot.settings import Settings
from gyropilot.store.folder_objects import FolderObjects
from gyropilot.store.folder_uploads import FolderUploads
from gyropilot.store.object_names import MAX_KEY_BYTES
from gyropilot.store.principals import Principal
from gyropilot.wire.signature import VerifiedSignature


@dataclass(frozen=True, kw_only=True)
class Door:
    """What the operations work with."""

    objects: FolderObjects
    uploads: FolderUploads
    settings: Settings


@dataclass(frozen=True, kw_only=True)
class S3Request:
    """One request; `key` is empty where the path names a bucket alone."""

    method: str
    bucket: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """By lower-case name, values as Latin-1."""
    signature: VerifiedSignature
    principal: Principal
    """Who asks; of another account's buckets they may know the names, as S3 has it, and no more."""
    stream: Callable[[], AsyncIterator[bytes]]

    def number(self, name: str, *, default: int, lowest: int, highest: int) -> int:
        """Give a whole number of the query.

        Raises:
            S3Error: it is none, or out of bounds.
        """
        text = self.query.get(name, str(default))
        if text.isascii() and text.isdigit() and len(text) < 11 and lowest <= int(text) <= highest:
            return int(text)
        raise S3Error(
            "InvalidArgument", f"{name} must be {lowest} to {highest}.", ArgumentName=name, ArgumentValue=text
        )


def read_path(path: str) -> tuple[str, str]:
    """Give bucket and key of a raw path.

    Raises:
        S3Error: the path is no UTF-8, or the key too long.
    """
    bucket, _, key = _decoded(path.removeprefix("/")).partition("/")
    return bucket, checked_key(key)


def read_query(query: str) -> dict[str, str]:
    """Give the query's values by name; a name without value has an empty one.

    Raises:
        S3Error: it is no UTF-8, or names something twice.
    """
    values: dict[str, str] = {}
    for pair in filter(None, query.split("&")):
        name, _, value = (_decoded(part.replace("+", " ")) for part in pair.partition("="))
        if name in values:
            raise S3Error("InvalidArgument", "A query parameter stands twice.", ArgumentName=name)
        values[name] = value
    return values


def read_copy_source(header: str) -> tuple[str, str]:
    """Give bucket and key that x-amz-copy-source names.

    Raises:
        S3Error: it names none, or a version.
    """
    path, _, query = header.partition("?")
    bucket, _, key = _decoded(path).removeprefix("/").partition("/")
    if query not in ("", "versionId=null"):
        raise S3Error("NotImplemented", "Versions of objects are not implemented by this object store.")
    if not bucket or not key:
        raise S3Error("InvalidArgument", "Copy Source must mention the source bucket and key: sourcebucket/sourcekey.")
    return bucket, checked_key(key)


def checked_key(key: str) -> str:
    """Give the key unless it is too long.

    Raises:
        S3Error: it is.
    """
    if len(key.encode()) > MAX_KEY_BYTES:
        raise S3Error("KeyTooLongError", f"Your key is longer than {MAX_KEY_BYTES} bytes.", MaxSizeAllowed="1024")
    return key


def _decoded(text: str) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError as error:
        raise S3Error("InvalidURI", "Couldn't parse the specified URI: it is not UTF-8.") from error
