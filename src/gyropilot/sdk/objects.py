"""Objects of the service's store as the client moves them: up in parts, down from any byte on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from gyropilot.sdk.connection import Connection
from gyropilot.sdk.errors import Refused, ServiceError

Json = Any
OnBytes = Callable[[int, int], None]
"""Hears how many bytes of how many are moved."""

_PART_BYTES = 16 << 20
_MAX_PARTS = 10_000
_BLOCK_BYTES = 1 << 20
_ABSENT = frozenset({"404", "NoSuchKey", "NoSuchBucket", "NotFound"})
_OURS_ALREADY = frozenset({"BucketAlreadyOwnedByYou"})


def split(uri: str) -> tuple[str, str]:
    """Give bucket and key of an s3 URI."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


class Objects:
    """Puts and fetches objects by calls of S3."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def make_bucket(self, bucket: str) -> None:
        """Make a bucket; one that is there and ours stays as it is."""
        if self.has_bucket(bucket):
            return
        try:
            self._call("create_bucket", Bucket=bucket)
        except Refused as error:
            if error.code not in _OURS_ALREADY:
                raise

    def has_bucket(self, bucket: str) -> bool:
        """Say whether a bucket is there and may be used."""
        try:
            self._call("head_bucket", Bucket=bucket)
        except Refused as error:
            if error.status == 403:  # the answer to a HEAD cannot say why
                told = (
                    f"s3://{bucket}: this key may not use the bucket, which may be another account's; use one of yours"
                )
                raise Refused(code="AccessDenied", message=told, status=403, caller=error.caller) from error
            if error.status != 404:
                raise
            return False
        return True

    def size_of(self, uri: str) -> int | None:
        """Give an object's size in bytes; None if it is not there."""
        bucket, key = split(uri)
        try:
            return int(self._call("head_object", Bucket=bucket, Key=key)["ContentLength"])
        except Refused as error:
            if error.code not in _ABSENT:
                raise
            return None

    def upload(self, path: Path, uri: str, on_bytes: OnBytes) -> None:
        """Store a file as the object `uri`, in bounded memory; it is there whole or not at all."""
        size = path.stat().st_size
        with path.open("rb") as file:
            if size <= _PART_BYTES:
                bucket, key = split(uri)
                self._call("put_object", Bucket=bucket, Key=key, Body=file)
                on_bytes(size, size)
            else:
                self._upload_in_parts(file, size, uri, on_bytes)

    def blocks(self, uri: str, *, start: int = 0) -> Iterator[bytes]:
        """Give an object's bytes from `start` on, block by block."""
        bucket, key = split(uri)
        request = {"Bucket": bucket, "Key": key} | ({"Range": f"bytes={start}-"} if start else {})
        body = self._call("get_object", **request)["Body"]
        try:
            while block := body.read(_BLOCK_BYTES):
                yield block
        except Exception as error:
            if type(error).__module__.partition(".")[0] not in {"botocore", "urllib3"}:
                raise
            raise ServiceError(f"{uri}: the connection broke ({error}); run the command again to go on") from error
        finally:
            body.close()

    def _upload_in_parts(self, file: BinaryIO, size: int, uri: str, on_bytes: OnBytes) -> None:
        bucket, key = split(uri)
        target = {"Bucket": bucket, "Key": key}
        target["UploadId"] = self._call("create_multipart_upload", **target)["UploadId"]
        part_bytes = max(_PART_BYTES, -(-size // _MAX_PARTS))
        parts: list[dict[str, Json]] = []
        try:
            while block := file.read(part_bytes):
                number = len(parts) + 1
                answer = self._call("upload_part", **target, PartNumber=number, Body=block)
                parts.append({"PartNumber": number, "ETag": answer["ETag"]})
                on_bytes(file.tell(), size)
            self._call("complete_multipart_upload", **target, MultipartUpload={"Parts": parts})
        except BaseException:
            self._call("abort_multipart_upload", **target)
            raise

    def _call(self, operation: str, **request: Json) -> dict[str, Json]:
        return self._connection.call("s3", operation, request)
