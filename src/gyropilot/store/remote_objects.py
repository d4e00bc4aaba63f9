"""Objects behind any S3 endpoint, by s3fs; the only importer of it. botocore is imported for its errors alone.

s3fs gives the connection, its retries and its event loop; calls name bucket and key as they are, since its paths
would fold `a//b` and `a/`.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError

from gyropilot.errors import InvalidData, MissingExtra, NotAllowed, NotFound
from gyropilot.store.object_files import write_new
from gyropilot.store.object_info import DEFAULT_CONTENT_TYPE, ObjectInfo

_PART_BYTES = 16 << 20
_MAX_PARTS = 10_000
_ANSWER_SECONDS = 3.0

_Parts = list[dict[str, object]]


class RemoteObjects:
    """Objects of an external store; usable from any thread.

    Without `key` and `secret` the usual AWS sources give them: environment, profile, instance role.
    """

    def __init__(self, *, endpoint_url: str, region: str, key: str | None = None, secret: str | None = None) -> None:
        try:
            from fsspec.asyn import sync
            from s3fs import S3FileSystem
        except ImportError as error:
            raise MissingExtra("s3", "an external S3 endpoint") from error
        self._sync: Any = sync
        self._files: Any = S3FileSystem(
            endpoint_url=endpoint_url,
            key=key,
            secret=secret,
            client_kwargs={"region_name": region},
            config_kwargs={
                "s3": {"addressing_style": "path"},
                "connect_timeout": 3,
                "read_timeout": 60,
                "retries": {"total_max_attempts": 2},
            },
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        # s3fs tries again beside botocore: a store that is gone is told as such within 20 s.
        self._files.retries = 3

    def bucket_exists(self, bucket: str) -> bool:
        """Say whether the bucket is there."""
        try:
            self._call("head_bucket", bucket)
        except NotFound:
            return False
        return True

    def list(self, bucket: str, prefix: str) -> Iterator[ObjectInfo]:
        """Give the objects whose keys begin with `prefix`, in UTF-8 byte order of the keys."""
        token: dict[str, str] = {}
        while True:
            answer = self._call("list_objects_v2", bucket, Prefix=prefix, **token)
            for one in answer.get("Contents", ()):
                yield ObjectInfo(
                    bucket=bucket,
                    key=one["Key"],
                    size_bytes=one["Size"],
                    etag=one["ETag"].strip('"'),
                    modified_at=one["LastModified"],
                )
            if not answer.get("IsTruncated"):
                return
            token = {"ContinuationToken": answer["NextContinuationToken"]}

    def head(self, bucket: str, key: str) -> ObjectInfo | None:
        """Give what is known of an object; None where bucket or key is not there."""
        try:
            answer = self._call("head_object", bucket, Key=key)
        except NotFound:
            return None
        return ObjectInfo(
            bucket=bucket,
            key=key,
            size_bytes=answer["ContentLength"],
            etag=answer["ETag"].strip('"'),
            modified_at=answer["LastModified"],
            content_type=answer.get("ContentType", DEFAULT_CONTENT_TYPE),
            metadata=dict(answer.get("Metadata", {})),
        )

    def fetch(self, bucket: str, key: str, to: Path, *, etag: str) -> None:
        """Copy the object that bears `etag` into the file `to`."""
        write_new(to, self.stream(bucket, key, etag=etag))

    def stream(self, bucket: str, key: str, *, etag: str, start: int = 0) -> Iterator[bytes]:
        """Give the bytes of the object that bears `etag` from `start` on, part by part, each asked for by that ETag."""
        uri = f"s3://{bucket}/{key}"
        info = self.head(bucket, key)
        if info is None:
            raise _changed(uri, "is gone: it was deleted while the job ran")
        if info.etag != etag:
            raise _changed(uri, f"changed while the job ran: its ETag was {etag}, is {info.etag}")
        for at in range(start, info.size_bytes, _PART_BYTES):
            span = f"bytes={at}-{min(at + _PART_BYTES, info.size_bytes) - 1}"
            try:
                part = self._bytes(bucket, key, Range=span, IfMatch=f'"{etag}"')
            except (_Precondition, NotFound) as error:
                raise _changed(uri, "changed while it was read") from error
            yield part

    def read(self, bucket: str, key: str) -> bytes:
        """Give a small object's bytes."""
        return self._bytes(bucket, key)

    def put_file(self, bucket: str, key: str, path: Path, content_type: str = DEFAULT_CONTENT_TYPE) -> ObjectInfo:
        """Store a local file; a large one in parts, of which nothing is left if one fails."""
        size_bytes = path.stat().st_size
        if size_bytes <= _PART_BYTES:
            return self.put_bytes(bucket, key, path.read_bytes(), content_type)
        upload = self._call("create_multipart_upload", bucket, Key=key, ContentType=content_type)["UploadId"]
        try:
            parts = self._put_parts(bucket, key, upload, path, max(_PART_BYTES, -(-size_bytes // _MAX_PARTS)))
            self._call("complete_multipart_upload", bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})
        except BaseException:
            with contextlib.suppress(Exception):  # the first error is the one to tell
                self._call("abort_multipart_upload", bucket, Key=key, UploadId=upload)
            raise
        return self._known(bucket, key)

    def put_bytes(self, bucket: str, key: str, data: bytes, content_type: str = DEFAULT_CONTENT_TYPE) -> ObjectInfo:
        """Store `data`."""
        self._call("put_object", bucket, Key=key, Body=data, ContentType=content_type)
        return self._known(bucket, key)

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        with contextlib.suppress(NotFound):
            self._call("delete_object", bucket, Key=key)

    def _put_parts(self, bucket: str, key: str, upload: str, path: Path, part_bytes: int) -> _Parts:
        parts: _Parts = []
        with path.open("rb") as file:
            while data := file.read(part_bytes):
                number = len(parts) + 1
                done = self._call("upload_part", bucket, Key=key, UploadId=upload, PartNumber=number, Body=data)
                parts.append({"PartNumber": number, "ETag": done["ETag"]})
        return parts

    def _known(self, bucket: str, key: str) -> ObjectInfo:
        info = self.head(bucket, key)
        if info is None:
            raise NotFound(f"s3://{bucket}/{key}: it was deleted as soon as it was stored")
        return info

    def _bytes(self, bucket: str, key: str, **arguments: object) -> bytes:
        async def get() -> bytes:
            answer = await self._files._call_s3("get_object", Bucket=bucket, Key=key, **arguments)
            async with answer["Body"] as body:
                data: bytes = await body.read()
            return data

        with _told_apart(f"s3://{bucket}/{key}"):
            data: bytes = self._sync(self._files.loop, get)
            return data

    def _call(self, operation: str, bucket: str, **arguments: object) -> Mapping[str, Any]:
        with _told_apart(f"s3://{bucket}/{arguments.get('Key', '')}"):
            answer: Mapping[str, Any] = self._files.call_s3(operation, Bucket=bucket, **arguments)
            return answer


def trouble(url: str) -> str:
    """Give why nothing can be reached at a store's endpoint; empty where something listens. Asks it nothing."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        with socket.create_connection((parts.hostname or "", port), timeout=_ANSWER_SECONDS):
            return ""
    except (OSError, ValueError) as error:
        return str(getattr(error, "strerror", None) or error)


class _Precondition(Exception):
    """The object no longer bears the ETag that was asked for."""


@contextlib.contextmanager
def _told_apart(uri: str) -> Iterator[None]:
    """Turn s3fs's errors into ours; a store that cannot be reached is an OSError."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"{uri}: there is no such object or bucket") from error
    except PermissionError as error:
        raise NotAllowed(f"{uri}: the external store refuses access: {error}") from error
    except OSError as error:
        answer = getattr(error.__cause__, "response", {})
        if answer.get("ResponseMetadata", {}).get("HTTPStatusCode") == 412:
            raise _Precondition from error
        raise
    except BotoCoreError as error:
        # Its own text names the endpoint, which is not for everybody who may hand the role to a job.
        raise ConnectionError(f"{uri}: the external store does not answer ({type(error).__name__})") from error


def _changed(uri: str, problem: str) -> InvalidData:
    return InvalidData(where=uri, problem=problem, fix="start the job again")
