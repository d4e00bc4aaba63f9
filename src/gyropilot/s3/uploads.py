"""Operations of multipart uploads."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from gyropilot.s3 import checksums, xml
from gyropilot.s3.answers import checksum_elements, checksum_headers, slow_xml_answer, timestamp, xml_answer
from gyropilot.s3.bodies import document, known_algorithm, stated_checksums, take
from gyropilot.s3.buckets import own_write_check
from gyropilot.s3.details import read_details
from gyropilot.s3.errors import S3Error, no_upload
from gyropilot.s3.objects import copy_bytes, open_source
from gyropilot.s3.ranges import read_copy_range
from gyropilot.s3.requests import Door, S3Request, read_copy_source
from gyropilot.s3.xml import element
from gyropilot.store.folder_uploads import Part, Upload
from gyropilot.store.object_info import StoredObject

_MOST_PARTS = 10_000
_MOST_LISTED = 1000
_LEAST_PART_BYTES = 5 << 20
_MOST_OBJECT_BYTES = 5 << 40


async def create_multipart_upload(door: Door, request: S3Request) -> Response:
    """Answer CreateMultipartUpload."""
    algorithm = request.headers.get("x-amz-checksum-algorithm", "")
    kind = request.headers.get("x-amz-checksum-type", "")
    if algorithm:
        algorithm = known_algorithm(algorithm)
        kind = kind or checksums.default_type(algorithm)
    if kind not in (checksums.types_of(algorithm) if algorithm else ("",)):
        raise S3Error("InvalidRequest", f"The {kind} checksum type does not fit the algorithm {algorithm.upper()}.")
    upload = await run_in_threadpool(
        door.uploads.create,
        request.bucket,
        request.key,
        read_details(request.headers),
        checksum_algorithm=algorithm,
        checksum_type=kind,
    )
    head = [element("Bucket", request.bucket), element("Key", request.key), element("UploadId", upload.id)]
    answer = xml_answer(element("InitiateMultipartUploadResult", *head))
    if algorithm:
        answer.headers["x-amz-checksum-algorithm"] = algorithm.upper()
        answer.headers["x-amz-checksum-type"] = kind
    return answer


async def upload_part(door: Door, request: S3Request) -> Response:
    """Answer UploadPart."""
    upload, number = await _found(door, request), _part_number(request)
    with await run_in_threadpool(door.objects.draft) as draft:
        sums = await take(request, draft, algorithm=upload.checksum_algorithm)
        if upload.checksum_algorithm and set(sums) != {upload.checksum_algorithm}:
            expected = upload.checksum_algorithm.upper()
            raise S3Error("InvalidRequest", f"Checksum Type mismatch occurred, expected checksum Type: {expected}.")
        part = await run_in_threadpool(door.uploads.put_part, upload, number, draft, sums)
    if part is None:
        raise no_upload(upload.id)
    headers = {name: value for name, value in checksum_headers(sums).items() if name != "x-amz-checksum-type"}
    return Response(headers={"ETag": f'"{part.etag}"'} | headers)


async def upload_part_copy(door: Door, request: S3Request) -> Response:
    """Answer UploadPartCopy."""
    upload, number = await _found(door, request), _part_number(request)
    record, file = await open_source(door, request, read_copy_source(request.headers["x-amz-copy-source"]))

    def copy() -> Element:
        with file, door.objects.draft() as draft:
            span = read_copy_range(request.headers.get("x-amz-copy-source-range"), record.info.size_bytes)
            algorithm = upload.checksum_algorithm
            checksum = checksums.start(algorithm) if algorithm else None
            copy_bytes(file, draft, span, also=checksum.update if checksum else len)
            sums = {algorithm: checksums.encoded(checksum.digest())} if checksum else {}
            part = door.uploads.put_part(upload, number, draft, sums)
        if part is None:
            raise no_upload(upload.id)
        when = element("LastModified", timestamp(part.modified_at))
        return element("CopyPartResult", element("ETag", f'"{part.etag}"'), when, *checksum_elements(sums))

    return await slow_xml_answer(copy)


async def list_parts(door: Door, request: S3Request) -> Response:
    """Answer ListParts."""
    upload = await _found(door, request)
    after = request.number("part-number-marker", default=0, lowest=0, highest=_MOST_PARTS)
    limit = min(request.number("max-parts", default=_MOST_LISTED, lowest=0, highest=2**31 - 1), _MOST_LISTED)
    parts = [part for part in await run_in_threadpool(door.uploads.parts, upload) if part.number > after]
    page = parts[:limit]
    is_truncated = bool(page) and len(parts) > limit
    return xml_answer(
        element(
            "ListPartsResult",
            element("Bucket", upload.bucket),
            element("Key", upload.key),
            element("UploadId", upload.id),
            element("StorageClass", "STANDARD"),
            element("PartNumberMarker", after),
            *([element("NextPartNumberMarker", page[-1].number)] if is_truncated else []),
            element("MaxParts", limit),
            element("IsTruncated", is_truncated),
            *(_part_element(part) for part in page),
        )
    )


async def abort_multipart_upload(door: Door, request: S3Request) -> Response:
    """Answer AbortMultipartUpload."""
    await run_in_threadpool(door.uploads.abort, await _found(door, request))
    return Response(status_code=204)


async def complete_multipart_upload(door: Door, request: S3Request) -> Response:
    """Answer CompleteMultipartUpload; asked again after it was done, it tells the object it made."""
    upload_id = request.query["uploadId"]
    wanted = xml.read(await document(request, stated={}))  # headers state the checksum of the object
    upload = await run_in_threadpool(door.uploads.find, request.bucket, request.key, upload_id)
    if upload is None:
        done = await run_in_threadpool(door.objects.find, request.bucket, request.key)
        if done is None or done.upload_id != upload_id:
            raise no_upload(upload_id)
        return xml_answer(_completed(done))
    check = own_write_check(door, request)
    parts = _chosen(wanted, await run_in_threadpool(door.uploads.parts, upload))
    sums = _sums(upload, parts)
    for algorithm, value in stated_checksums(request).items():
        if sums.get(algorithm, value).partition("-")[0] != value.partition("-")[0]:
            raise S3Error("BadDigest", f"The {algorithm.upper()} you specified did not match the calculated checksum.")

    def complete() -> Element:
        try:
            return _completed(door.uploads.complete(upload, parts, checksums=sums, check=check))
        except FileNotFoundError:
            raise no_upload(upload_id) from None

    return await slow_xml_answer(complete)


async def _found(door: Door, request: S3Request) -> Upload:
    upload_id = request.query.get("uploadId", "")
    upload = await run_in_threadpool(door.uploads.find, request.bucket, request.key, upload_id)
    if upload is None:
        raise no_upload(upload_id)
    return upload


def _part_number(request: S3Request) -> int:
    return request.number("partNumber", default=0, lowest=1, highest=_MOST_PARTS)


def _chosen(root: Element, parts: Sequence[Part]) -> list[Part]:
    """Give the parts that a completion names, in its order.

    Raises:
        S3Error: one did not come, is not the one named, is out of order, or too small.
    """
    wanted = root.findall("Part")
    if root.tag != "CompleteMultipartUpload" or not 0 < len(wanted) <= _MOST_PARTS:
        raise xml.Malformed(f"CompleteMultipartUpload names 1 to {_MOST_PARTS} parts")
    by_number = {str(part.number): part for part in parts}
    chosen: list[Part] = []
    for one in wanted:
        part = by_number.get(one.findtext("PartNumber", "").strip())
        if part is None or not _is_named(part, one):
            raise S3Error(
                "InvalidPart",
                "One or more of the specified parts could not be found: it was not uploaded, or its ETag or checksum "
                "is another.",
                PartNumber=one.findtext("PartNumber", ""),
                ETag=one.findtext("ETag", ""),
            )
        if chosen and part.number <= chosen[-1].number:
            raise S3Error("InvalidPartOrder", "The list of parts was not in ascending order.")
        chosen.append(part)
    _check_sizes(chosen)
    return chosen


def _is_named(part: Part, named: Element) -> bool:
    if named.findtext("ETag", "").strip().strip('"') != part.etag:
        return False
    sums = {one.tag.removeprefix("Checksum").lower(): one.text for one in named if one.tag.startswith("Checksum")}
    return all(part.checksums.get(algorithm, value) == value for algorithm, value in sums.items())


def _check_sizes(parts: Sequence[Part]) -> None:
    for part in parts[:-1]:
        if part.size_bytes < _LEAST_PART_BYTES:
            raise S3Error(
                "EntityTooSmall",
                "Your proposed upload is smaller than the minimum allowed size.",
                PartNumber=str(part.number),
                ProposedSize=str(part.size_bytes),
                MinSizeAllowed=str(_LEAST_PART_BYTES),
            )
    if sum(part.size_bytes for part in parts) > _MOST_OBJECT_BYTES:
        raise S3Error("EntityTooLarge", "The object would exceed the size allowed.")


def _sums(upload: Upload, parts: Sequence[Part]) -> dict[str, str]:
    """Give the checksum of the whole, of the type that the upload's writer chose."""
    algorithm = upload.checksum_algorithm
    if not algorithm:
        return {}
    if upload.checksum_type == "COMPOSITE":
        return {algorithm: checksums.composite(algorithm, [part.checksums[algorithm] for part in parts])}
    return {algorithm: checksums.full_object(algorithm, [(p.checksums[algorithm], p.size_bytes) for p in parts])}


def _part_element(part: Part) -> Element:
    return element(
        "Part",
        element("PartNumber", part.number),
        element("LastModified", timestamp(part.modified_at)),
        element("ETag", f'"{part.etag}"'),
        element("Size", part.size_bytes),
        *checksum_elements(part.checksums),
    )


def _completed(done: StoredObject) -> Element:
    info = done.info
    return element(
        "CompleteMultipartUploadResult",
        element("Location", f"/{info.bucket}/{info.key}"),
        element("Bucket", info.bucket),
        element("Key", info.key),
        element("ETag", f'"{info.etag}"'),
        *checksum_elements(done.details.checksums),
    )
