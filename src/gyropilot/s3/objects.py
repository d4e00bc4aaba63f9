"""Operations on one object, and the deletion of many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO
from xml.etree.ElementTree import Element

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from gyropilot.s3 import xml
from gyropilot.s3.answers import (
    FileAnswer,
    checksum_elements,
    checksum_headers,
    object_headers,
    slow_xml_answer,
    timestamp,
    xml_answer,
)
from gyropilot.s3.bodies import document, stated_checksums, take
from gyropilot.s3.buckets import check_bucket, own_write_check
from gyropilot.s3.conditions import check_copy_source, check_read
from gyropilot.s3.details import overrides, read_details
from gyropilot.s3.errors import S3Error, as_s3_error, no_key, not_done
from gyropilot.s3.ranges import read_range
from gyropilot.s3.requests import Door, S3Request, checked_key, read_copy_source
from gyropilot.s3.xml import element
from gyropilot.store.folder_objects import Check
from gyropilot.store.object_files import BLOCK_BYTES, Draft
from gyropilot.store.object_info import StoredObject

_MOST_DELETED = 1000


async def put_object(door: Door, request: S3Request) -> Response:
    """Answer PutObject: when it does, the object is durable."""
    check, details = own_write_check(door, request), read_details(request.headers)
    with await run_in_threadpool(door.objects.draft) as draft:
        checksums = await take(request, draft)
        details = replace(details, checksums=checksums)
        done = await run_in_threadpool(door.objects.commit, draft, request.bucket, request.key, details, check=check)
    return Response(headers={"ETag": f'"{done.info.etag}"'} | checksum_headers(checksums))


async def copy_object(door: Door, request: S3Request) -> Response:
    """Answer CopyObject."""
    check, details = own_write_check(door, request), read_details(request.headers)
    source = read_copy_source(request.headers["x-amz-copy-source"])
    directive = request.headers.get("x-amz-metadata-directive", "COPY")
    if directive not in ("COPY", "REPLACE"):
        raise S3Error("InvalidArgument", "Unknown metadata directive.", ArgumentName="x-amz-metadata-directive")
    if "x-amz-checksum-algorithm" in request.headers:
        raise not_done("The header x-amz-checksum-algorithm of a copy")
    if source == (request.bucket, request.key) and directive == "COPY":
        raise S3Error("InvalidRequest", "This copy would change nothing: it copies an object to itself as it is.")
    record, file = await open_source(door, request, source)

    def copy() -> Element:
        with file, door.objects.draft() as draft:
            copy_bytes(file, draft, (0, record.info.size_bytes), also=len)
            given = details if directive == "REPLACE" else record.details
            whole = {name: value for name, value in record.details.checksums.items() if "-" not in value}
            kept = replace(given, checksums=whole)
            done = door.objects.commit(draft, request.bucket, request.key, kept, check=check)
        return _copied("CopyObjectResult", done)

    return await slow_xml_answer(copy)


async def get_object(door: Door, request: S3Request) -> Response:
    """Answer GetObject."""
    _refuse_parts_of_objects(request)
    opened = await run_in_threadpool(door.objects.open, request.bucket, request.key)
    if opened is None:
        raise no_key(request.key)
    record, file = opened
    try:
        start, length, status, headers = _described(request, record)
        return FileAnswer(file, start=start, length=length, status=status, headers=headers)
    except BaseException:
        file.close()
        raise


async def head_object(door: Door, request: S3Request) -> Response:
    """Answer HeadObject."""
    _refuse_parts_of_objects(request)
    record = await run_in_threadpool(door.objects.find, request.bucket, request.key)
    if record is None:
        raise no_key(request.key)
    _, length, status, headers = _described(request, record)
    return Response(status_code=status, headers=headers | {"Content-Length": str(length)})


async def delete_object(door: Door, request: S3Request) -> Response:
    """Answer DeleteObject; an object that is not there is no error."""
    check = own_write_check(door, request)
    await run_in_threadpool(door.objects.delete_if, request.bucket, request.key, check=check)
    return Response(status_code=204)


async def delete_objects(door: Door, request: S3Request) -> Response:
    """Answer DeleteObjects."""
    root = xml.read(await document(request, stated=stated_checksums(request)))
    wanted = root.findall("Object")
    if root.tag != "Delete" or not 0 < len(wanted) <= _MOST_DELETED:
        raise xml.Malformed(f"Delete names 1 to {_MOST_DELETED} objects")
    is_quiet = root.findtext("Quiet", "").lower() == "true"
    check = own_write_check(door, request)
    answers = await run_in_threadpool(lambda: [_deleted(door, request.bucket, one, check) for one in wanted])
    return xml_answer(element("DeleteResult", *(one for one in answers if one.tag == "Error" or not is_quiet)))


async def open_source(door: Door, request: S3Request, source: tuple[str, str]) -> tuple[StoredObject, BinaryIO]:
    """Give the source of a copy, to be closed by the caller.

    Raises:
        S3Error: it is not there, or a condition on it does not hold.
    """
    await check_bucket(door, request, source[0])
    opened = await run_in_threadpool(door.objects.open, *source)
    if opened is None:
        raise no_key(source[1])
    try:
        check_copy_source(request.headers, opened[0].info)
    except S3Error:
        opened[1].close()
        raise
    return opened


def copy_bytes(file: BinaryIO, draft: Draft, span: tuple[int, int], *, also: Callable[[bytes], object]) -> None:
    """Append a part of a file, its start and length, to a draft, and give each block to `also`."""
    start, length = span
    file.seek(start)
    while length and (block := file.read(min(length, BLOCK_BYTES))):
        draft.write(block)
        also(block)
        length -= len(block)


def _described(request: S3Request, record: StoredObject) -> tuple[int, int, int, dict[str, str]]:
    """Give start, length, status and headers of what a GET or HEAD asks for."""
    check_read(request.headers, record.info)
    headers = object_headers(record) | overrides(request.query)
    size_bytes = record.info.size_bytes
    asked = request.headers.get("range")
    if request.headers.get("if-range", f'"{record.info.etag}"').strip('"') != record.info.etag:
        asked = None
    if (span := read_range(asked, size_bytes)) is not None:
        start, length = span
        return start, length, 206, headers | {"Content-Range": f"bytes {start}-{start + length - 1}/{size_bytes}"}
    if request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED":
        headers |= checksum_headers(record.details.checksums)
    return 0, size_bytes, 200, headers


def _refuse_parts_of_objects(request: S3Request) -> None:
    if "partNumber" in request.query:
        raise not_done("Reading an object by partNumber")


def _deleted(door: Door, bucket: str, wanted: Element, check: Check) -> Element:
    key = wanted.findtext("Key", "")
    try:
        for child in wanted:
            if child.tag != "Key" and (child.tag, child.text) != ("VersionId", "null"):
                raise not_done(f"{child.tag} of an object to delete")
        door.objects.delete_if(bucket, checked_key(key), check=check)
    except Exception as error:  # one object's fault is told of that object
        fault = as_s3_error(error)
        told = [element("Code", fault.code), element("Message", fault.message)]
        return element("Error", element("Key", key), *told)
    return element("Deleted", element("Key", key))


def _copied(name: str, done: StoredObject) -> Element:
    info = done.info
    return element(
        name,
        element("ETag", f'"{info.etag}"'),
        element("LastModified", timestamp(info.modified_at)),
        *checksum_elements(done.details.checksums),
    )
