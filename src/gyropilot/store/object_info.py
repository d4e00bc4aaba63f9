"""What is known of a stored object; the values that `objects`, its implementations and the S3 door exchange."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

DEFAULT_CONTENT_TYPE = "binary/octet-stream"


@dataclass(frozen=True, kw_only=True)
class ObjectInfo:
    """One object of a bucket."""

    bucket: str
    key: str
    size_bytes: int
    etag: str
    """Without quotes; MD5 of the bytes, or `<md5 of the parts' md5s>-<parts>` for a multipart upload."""
    modified_at: datetime
    content_type: str = DEFAULT_CONTENT_TYPE
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        """The object's `s3://bucket/key`."""
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, kw_only=True)
class ObjectDetails:
    """What a writer says of an object beside its bytes."""

    content_type: str = DEFAULT_CONTENT_TYPE
    metadata: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers given back as they came, lower case: cache-control, content-disposition and their like."""
    checksums: Mapping[str, str] = field(default_factory=dict)
    """Base64 checksum by algorithm (`crc32`), of the whole object or, ending in `-<parts>`, of the parts' checksums."""


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """An object of the embedded store: what everybody sees, what its writer said, where its bytes lie."""

    info: ObjectInfo
    details: ObjectDetails
    data_name: str
    """Name of the file of its bytes, beside its record."""
    upload_id: str = ""
    """The multipart upload that made it, so that a repeated completion finds its work done."""


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """A bucket of the embedded store."""

    name: str
    created_at: datetime
    account_id: str
    """Whose it is."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """One page of a bucket: objects and common prefixes, each in UTF-8 byte order."""

    objects: tuple[ObjectInfo, ...]
    common_prefixes: tuple[str, ...]
    next_after: str | None
    """The last key or common prefix of this page where more follows; None at the end."""
