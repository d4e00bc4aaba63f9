"""What the headers of a write say of its object, and which of them this door refuses by name."""

from __future__ import annotations

from collections.abc import Mapping

from gyropilot.s3.errors import S3Error, not_done
from gyropilot.store.object_info import DEFAULT_CONTENT_TYPE, ObjectDetails

_META = "x-amz-meta-"
_MOST_META_BYTES = 2048
_KEPT = ("cache-control", "content-disposition", "content-language", "expires")
_OVERRIDES = ("cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires")
# Each changes what is stored or who may read it: taken without doing it, it would be a lie.
_REFUSED = (
    "x-amz-bypass-governance-retention",
    "x-amz-copy-source-server-side-encryption",
    "x-amz-grant-",
    "x-amz-mfa",
    "x-amz-object-lock",
    "x-amz-server-side-encryption",
    "x-amz-website-redirect-location",
    "x-amz-write-offset-bytes",
)
_ONLY: Mapping[str, tuple[str, ...]] = {
    "x-amz-acl": ("private", "bucket-owner-full-control", "bucket-owner-read"),
    "x-amz-bucket-object-lock-enabled": ("false",),
    "x-amz-object-ownership": ("BucketOwnerEnforced",),
    "x-amz-storage-class": ("STANDARD",),
    "x-amz-tagging": ("",),
    "x-amz-tagging-directive": ("COPY",),
}


def refuse_what_is_not_done(headers: Mapping[str, str], account_id: str) -> None:
    """Refuse headers that ask for what this door does not do.

    Raises:
        S3Error: there is one, or the request is meant for another account's bucket.
    """
    for name, value in headers.items():
        if name.startswith(_REFUSED) or value not in _ONLY.get(name, (value,)):
            raise not_done(f"The header {name}: {value[:100]}")
    for name in ("x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner"):
        if headers.get(name, account_id) != account_id:
            raise S3Error("AccessDenied", "Access Denied")


def read_details(headers: Mapping[str, str]) -> ObjectDetails:
    """Give what a write says of its object.

    Raises:
        S3Error: its metadata is longer than S3 takes.
    """
    metadata = {name.removeprefix(_META): value for name, value in headers.items() if name.startswith(_META)}
    if sum(len(name) + len(value) for name, value in metadata.items()) > _MOST_META_BYTES:
        raise S3Error("MetadataTooLarge", f"Your metadata headers exceed {_MOST_META_BYTES} bytes.")
    kept = {name: headers[name] for name in _KEPT if name in headers}
    codings = [one.strip() for one in headers.get("content-encoding", "").split(",")]
    if coding := ",".join(one for one in codings if one not in ("", "aws-chunked")):
        kept["content-encoding"] = coding
    return ObjectDetails(
        content_type=headers.get("content-type") or DEFAULT_CONTENT_TYPE, metadata=metadata, headers=kept
    )


def overrides(query: Mapping[str, str]) -> dict[str, str]:
    """Give the headers of a GET's answer that its query sets.

    Raises:
        S3Error: a value is no header's.
    """
    found = {name: query[f"response-{name}"] for name in _OVERRIDES if f"response-{name}" in query}
    for name, value in found.items():
        if not value.isprintable() or not value.isascii():
            raise S3Error("InvalidArgument", "The value is no header's.", ArgumentName=f"response-{name}")
    return found
