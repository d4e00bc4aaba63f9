"""Which operation a request asks for: one table, and what of S3 is refused by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

from starlette.responses import Response

from gyropilot.s3 import buckets, listings, objects, uploads
from gyropilot.s3.errors import S3Error, not_done
from gyropilot.s3.requests import Door, S3Request

Operation = Callable[[Door, S3Request], Awaitable[Response]]
Target = Literal["service", "bucket", "object"]

# (method, what the path names, query parameter or header that must be there) -> operation; the first that fits.
_TABLE: tuple[tuple[str, Target, str, Operation], ...] = (
    ("GET", "service", "", buckets.list_buckets),
    ("PUT", "bucket", "", buckets.create_bucket),
    ("HEAD", "bucket", "", buckets.head_bucket),
    ("DELETE", "bucket", "", buckets.delete_bucket),
    ("GET", "bucket", "location", buckets.get_bucket_location),
    ("GET", "bucket", "versioning", buckets.get_bucket_versioning),
    ("GET", "bucket", "uploads", listings.list_multipart_uploads),
    ("GET", "bucket", "list-type", listings.list_objects_v2),
    ("GET", "bucket", "", listings.list_objects),
    ("POST", "bucket", "delete", objects.delete_objects),
    ("POST", "object", "uploads", uploads.create_multipart_upload),
    ("POST", "object", "uploadId", uploads.complete_multipart_upload),
    ("PUT", "object", "uploadId", uploads.upload_part),
    ("GET", "object", "uploadId", uploads.list_parts),
    ("DELETE", "object", "uploadId", uploads.abort_multipart_upload),
    ("PUT", "object", "", objects.put_object),
    ("GET", "object", "", objects.get_object),
    ("HEAD", "object", "", objects.head_object),
    ("DELETE", "object", "", objects.delete_object),
)
_COPIES: dict[Operation, Operation] = {
    objects.put_object: objects.copy_object,
    uploads.upload_part: uploads.upload_part_copy,
}
READS_BODY = frozenset(
    {
        buckets.create_bucket,
        objects.delete_objects,
        objects.put_object,
        uploads.complete_multipart_upload,
        uploads.upload_part,
    }
)
"""The operations that check the body themselves, since they read it."""

AUDITED = frozenset({buckets.create_bucket, buckets.delete_bucket})
"""The operations of which the audit log tells; objects are put too often for it."""

# Parameters that choose another operation of S3; every other parameter belongs to an operation above.
_NOT_DONE = frozenset(
    {"abac", "accelerate", "acl", "analytics", "attributes", "cors", "encryption", "intelligent-tiering", "inventory"}
    | {"legal-hold", "lifecycle", "logging", "metadataConfiguration", "metadataTable", "metrics", "notification"}
    | {"object-lock", "ownershipControls", "policy", "policyStatus", "publicAccessBlock", "renameObject"}
    | {"replication", "requestPayment", "restore", "retention", "select", "session", "tagging", "torrent"}
    | {"versions", "website"}
)
_MARKS = frozenset({"location", "versioning", "uploads", "delete", "uploadId"})


def find(request: S3Request) -> tuple[Target, Operation]:
    """Give the operation that the request asks for, and what it works on.

    Raises:
        S3Error: there is none such in S3, or not here.
    """
    target: Target = "object" if request.key else "bucket" if request.bucket else "service"
    for name in _NOT_DONE & set(request.query):
        raise not_done(f"{request.method} of ?{name} of a{'n' if target == 'object' else ''} {target}")
    if request.query.get("versionId", "null") != "null":
        raise not_done("Versions of objects")
    for method, named, mark, operation in _TABLE:
        if (method, named) == (request.method, target) and (not mark or mark in request.query):
            if stray := (_MARKS & set(request.query)) - {mark}:
                raise not_done(f"{method} of ?{', ?'.join(sorted(stray))} of a {target}")
            is_copy = "x-amz-copy-source" in request.headers
            return target, _COPIES.get(operation, operation) if is_copy else operation
    raise S3Error("MethodNotAllowed", f"{request.method} is not allowed against this {target}.")
