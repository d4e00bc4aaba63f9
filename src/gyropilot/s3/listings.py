"""Operations that list: objects of a bucket (both versions) and multipart uploads under way."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable
from urllib.parse import quote
from xml.etree.ElementTree import Element

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from gyropilot.s3.answers import timestamp, xml_answer
from gyropilot.s3.errors import S3Error
from gyropilot.s3.requests import Door, S3Request
from gyropilot.s3.xml import element
from gyropilot.store.object_info import Listing, ObjectInfo

_MOST_KEYS = 1000
_HIGHEST = 2**31 - 1


async def list_objects(door: Door, request: S3Request) -> Response:
    """Answer ListObjects."""
    shown = _encoder(request)
    marker = request.query.get("marker", "")
    listing = await _page(door, request, after=marker)
    following = [element("NextMarker", shown(listing.next_after))] if listing.next_after is not None else []
    head = [element("Marker", shown(marker)), *following]
    return xml_answer(
        element("ListBucketResult", *head, *_common(request, listing, shown, request.principal.account_id))
    )


async def list_objects_v2(door: Door, request: S3Request) -> Response:
    """Answer ListObjectsV2."""
    if request.query["list-type"] != "2":
        raise S3Error("InvalidArgument", "Invalid list type.", ArgumentName="list-type")
    shown = _encoder(request)
    token, start_after = request.query.get("continuation-token"), request.query.get("start-after", "")
    listing = await _page(door, request, after=start_after if token is None else _read_token(token))
    head = [element("KeyCount", len(listing.objects) + len(listing.common_prefixes))]
    if token is not None:
        head.append(element("ContinuationToken", token))
    if start_after:
        head.append(element("StartAfter", shown(start_after)))
    if listing.next_after is not None:
        head.append(element("NextContinuationToken", _token(listing.next_after)))
    owner = request.principal.account_id if request.query.get("fetch-owner") == "true" else ""
    return xml_answer(element("ListBucketResult", *head, *_common(request, listing, shown, owner)))


async def list_multipart_uploads(door: Door, request: S3Request) -> Response:
    """Answer ListMultipartUploads."""
    if "delimiter" in request.query:
        raise S3Error("NotImplemented", "ListMultipartUploads with a delimiter is not implemented.")
    shown = _encoder(request)
    prefix, limit = request.query.get("prefix", ""), _limit(request, "max-uploads")
    after = (request.query.get("key-marker", ""), request.query.get("upload-id-marker", ""))
    uploads = [
        one for one in await run_in_threadpool(door.uploads.of_bucket, request.bucket) if one.key.startswith(prefix)
    ]
    if after[0]:
        passed = [at for at, one in enumerate(uploads) if (one.key, one.id) == after]
        uploads = (
            uploads[passed[0] + 1 :] if passed else [one for one in uploads if one.key.encode() > after[0].encode()]
        )
    page = uploads[:limit]
    following = []
    if len(uploads) > limit and page:
        following = [element("NextKeyMarker", shown(page[-1].key)), element("NextUploadIdMarker", page[-1].id)]
    return xml_answer(
        element(
            "ListMultipartUploadsResult",
            element("Bucket", request.bucket),
            element("KeyMarker", shown(after[0])),
            element("UploadIdMarker", after[1]),
            *following,
            element("Prefix", shown(prefix)),
            element("MaxUploads", limit),
            element("IsTruncated", bool(following)),
            *(
                element(
                    "Upload",
                    element("Key", shown(one.key)),
                    element("UploadId", one.id),
                    element("StorageClass", "STANDARD"),
                    element("Initiated", timestamp(one.created_at)),
                )
                for one in page
            ),
        )
    )


async def _page(door: Door, request: S3Request, *, after: str) -> Listing:
    limit = _limit(request, "max-keys")
    if limit == 0:
        return Listing(objects=(), common_prefixes=(), next_after=None)
    prefix, delimiter = request.query.get("prefix", ""), request.query.get("delimiter", "")
    return await run_in_threadpool(
        door.objects.page, request.bucket, prefix=prefix, delimiter=delimiter, after=after, limit=limit
    )


def _common(request: S3Request, listing: Listing, shown: Callable[[str], str], owner: str) -> Iterable[Element]:
    """Give the elements that both versions have, `owner` empty where it is not shown."""
    yield element("Name", request.bucket)
    yield element("Prefix", shown(request.query.get("prefix", "")))
    if "delimiter" in request.query:
        yield element("Delimiter", shown(request.query["delimiter"]))
    if "encoding-type" in request.query:
        yield element("EncodingType", "url")
    yield element("MaxKeys", _limit(request, "max-keys"))
    yield element("IsTruncated", listing.next_after is not None)
    for info in listing.objects:
        yield _content(info, shown, owner)
    for prefix in listing.common_prefixes:
        yield element("CommonPrefixes", element("Prefix", shown(prefix)))


def _content(info: ObjectInfo, shown: Callable[[str], str], owner: str) -> Element:
    return element(
        "Contents",
        element("Key", shown(info.key)),
        element("LastModified", timestamp(info.modified_at)),
        element("ETag", f'"{info.etag}"'),
        element("Size", info.size_bytes),
        element("StorageClass", "STANDARD"),
        *([element("Owner", element("ID", owner))] if owner else []),
    )


def _limit(request: S3Request, name: str) -> int:
    return min(request.number(name, default=_MOST_KEYS, lowest=0, highest=_HIGHEST), _MOST_KEYS)


def _encoder(request: S3Request) -> Callable[[str], str]:
    match request.query.get("encoding-type"):
        case None:
            return str
        case "url":
            return lambda text: quote(text, safe="/-_.~*")
    raise S3Error("InvalidArgument", "Invalid Encoding Method specified in Request.", ArgumentName="encoding-type")


def _token(after: str) -> str:
    return base64.urlsafe_b64encode(after.encode()).decode()


def _read_token(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        raise S3Error(
            "InvalidArgument", "The continuation token provided is incorrect.", ArgumentName="continuation-token"
        ) from None
