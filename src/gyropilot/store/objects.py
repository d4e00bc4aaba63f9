"""The objects that jobs read and write, wherever they lie; opened once a process and handed down.

Objects (contract)
├── FolderObjects   folder_objects.py   the embedded store below the home folder; the S3 door serves it
├── RemoteObjects   remote_objects.py   any S3 endpoint, by s3fs
└── RoleObjects     role_objects.py     what a role may use of one of these
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from gyropilot.settings import Settings
from gyropilot.store.folder_objects import FolderObjects
from gyropilot.store.object_info import DEFAULT_CONTENT_TYPE, ObjectInfo
from gyropilot.store.remote_objects import RemoteObjects

__all__ = ["DEFAULT_CONTENT_TYPE", "FolderObjects", "ObjectInfo", "Objects", "RemoteObjects", "open_objects"]


class Objects(Protocol):
    """Buckets and objects. Every call may be made from any thread; every write is durable when it returns.

    Reads of an object see one version of it, whole, whatever is written meanwhile.
    """

    def bucket_exists(self, bucket: str) -> bool:
        """Say whether the bucket is there."""

    def list(self, bucket: str, prefix: str) -> Iterator[ObjectInfo]:
        """Give the objects whose keys begin with `prefix`, in UTF-8 byte order of the keys.

        Content type and metadata are not asked for: they may be the defaults.

        Raises:
            NotFound: there is no such bucket.
        """

    def head(self, bucket: str, key: str) -> ObjectInfo | None:
        """Give what is known of an object; None where bucket or key is not there."""

    def fetch(self, bucket: str, key: str, to: Path, *, etag: str) -> None:
        """Copy the object that bears `etag` into the file `to`, in bounded memory.

        Raises:
            InvalidData: the object is gone or bears another etag: it changed while the job ran.
        """

    def stream(self, bucket: str, key: str, *, etag: str, start: int = 0) -> Iterator[bytes]:
        """Give the bytes of the object that bears `etag`, from byte `start` on, block by block, in bounded memory.

        Raises:
            InvalidData: the object is gone or bears another etag, before or between the blocks.
        """

    def read(self, bucket: str, key: str) -> bytes:
        """Give a small object's bytes.

        Raises:
            NotFound: there is no such object.
        """

    def put_file(self, bucket: str, key: str, path: Path, content_type: str = DEFAULT_CONTENT_TYPE) -> ObjectInfo:
        """Store a local file, in bounded memory.

        Raises:
            NotFound: there is no such bucket.
        """

    def put_bytes(self, bucket: str, key: str, data: bytes, content_type: str = DEFAULT_CONTENT_TYPE) -> ObjectInfo:
        """Store `data`.

        Raises:
            NotFound: there is no such bucket.
        """

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object; one that is not there is no error."""


def open_objects(settings: Settings) -> Objects:
    """Give the store that the settings name: an external S3 endpoint, or the folder below the home."""
    if settings.s3_endpoint:
        return RemoteObjects(endpoint_url=settings.s3_endpoint, region=settings.region)
    return FolderObjects(settings.objects, settings.account_id)
