"""Operations on buckets."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from gyropilot.s3 import xml
from gyropilot.s3.answers import timestamp, xml_answer
from gyropilot.s3.bodies import document, stated_checksums
from gyropilot.s3.conditions import write_check
from gyropilot.s3.errors import S3Error, no_bucket
from gyropilot.s3.requests import Door, S3Request
from gyropilot.s3.xml import element
from gyropilot.store.folder_objects import Check
from gyropilot.store.object_info import StoredObject
from gyropilot.store.object_names import is_bucket_name


async def list_buckets(door: Door, request: S3Request) -> Response:
    """Answer ListBuckets."""
    prefix = request.query.get("prefix", "")
    account = request.principal.account_id
    found = await run_in_threadpool(door.objects.buckets)
    buckets = [one for one in found if one.account_id == account and one.name.startswith(prefix)]
    shown = [
        element("Bucket", element("Name", one.name), element("CreationDate", timestamp(one.created_at)))
        for one in buckets
    ]
    owner = element("Owner", element("ID", account))
    return xml_answer(element("ListAllMyBucketsResult", owner, element("Buckets", *shown)))


async def create_bucket(door: Door, request: S3Request) -> Response:
    """Answer CreateBucket; a bucket of one's own is created again as in us-east-1, which is to say not."""
    if not is_bucket_name(request.bucket):
        raise S3Error("InvalidBucketName", "The specified bucket is not valid.", BucketName=request.bucket)
    body = await document(request, stated=stated_checksums(request))
    if body:
        _check_configuration(body, door.settings.region)
    account = request.principal.account_id
    if await run_in_threadpool(door.objects.owner_of, request.bucket) is None:
        await _end_uploads(door, request.bucket)  # a kill may have left those of a deleted bucket, maybe another's
    if not await run_in_threadpool(door.objects.create_bucket, request.bucket, account):
        if await run_in_threadpool(door.objects.owner_of, request.bucket) != account:
            raise S3Error(
                "BucketAlreadyExists",
                "The requested bucket name is not available. Please select a different name and try again.",
                BucketName=request.bucket,
            )
        if door.settings.region != "us-east-1":
            raise S3Error(
                "BucketAlreadyOwnedByYou",
                "Your previous request to create the named bucket succeeded and you already own it.",
                BucketName=request.bucket,
            )
    return Response(headers={"Location": f"/{request.bucket}"})


async def head_bucket(door: Door, request: S3Request) -> Response:
    """Answer HeadBucket."""
    return Response(headers={"x-amz-bucket-region": door.settings.region})


async def delete_bucket(door: Door, request: S3Request) -> Response:
    """Answer DeleteBucket; multipart uploads under way end with their bucket."""
    if await run_in_threadpool(door.objects.delete_bucket, request.bucket) == "not empty":
        raise S3Error("BucketNotEmpty", "The bucket you tried to delete is not empty.", BucketName=request.bucket)
    await _end_uploads(door, request.bucket)
    return Response(status_code=204)


async def get_bucket_location(door: Door, request: S3Request) -> Response:
    """Answer GetBucketLocation; us-east-1 is told by an empty text, as S3 does."""
    region = door.settings.region
    return xml_answer(element("LocationConstraint", *([region] if region != "us-east-1" else [])))


async def get_bucket_versioning(door: Door, request: S3Request) -> Response:
    """Answer GetBucketVersioning: it was never switched on."""
    return xml_answer(element("VersioningConfiguration"))


async def check_bucket(door: Door, request: S3Request, bucket: str) -> None:
    """Check that a bucket is there and belongs to the caller's account.

    Raises:
        S3Error: it does not.
    """
    await run_in_threadpool(_check_owner, door, request, bucket)


def own_write_check(door: Door, request: S3Request) -> Check:
    """Give the check of a write: its conditions hold, and the bucket is still the caller's.

    The body of a write may come slowly, and its bucket be deleted and made by another account before the end.

    Raises:
        S3Error: a condition is asked for that is not done.
    """
    conditions = write_check(request.headers)

    def check(current: StoredObject | None) -> None:
        _check_owner(door, request, request.bucket)
        conditions(current)

    return check


def _check_owner(door: Door, request: S3Request, bucket: str) -> None:
    owner = door.objects.owner_of(bucket)
    if owner is None:
        raise no_bucket(bucket)
    if owner != request.principal.account_id:
        raise S3Error("AccessDenied", "Access Denied")


async def _end_uploads(door: Door, bucket: str) -> None:
    for upload in await run_in_threadpool(door.uploads.of_bucket, bucket):
        await run_in_threadpool(door.uploads.abort, upload)


def _check_configuration(body: bytes, region: str) -> None:
    root = xml.read(body)
    constraint = root.findtext("LocationConstraint")
    if root.tag != "CreateBucketConfiguration" or {child.tag for child in root} - {"LocationConstraint"}:
        raise S3Error("NotImplemented", "CreateBucketConfiguration is implemented for LocationConstraint alone.")
    if constraint not in (None, region):
        raise S3Error(
            "IllegalLocationConstraintException",
            f"The {constraint} location constraint is incompatible with this store's region {region}.",
        )
