"""Finds the objects that a channel of a request names; called when a job is created and again when it starts."""

from __future__ import annotations

from typing import Protocol

from gyropilot import names
from gyropilot.errors import InvalidData
from gyropilot.store.objects import ObjectInfo, Objects

MAX_FILES = 10_000
"""Objects in one channel; a longer listing is a wrong prefix more often than a data set."""


class ChannelRequest(Protocol):
    """Where a channel's data lies, as DataSource.S3DataSource of the request says."""

    @property
    def s3_data_type(self) -> str:
        """S3Prefix, ManifestFile or AugmentedManifestFile."""

    @property
    def s3_uri(self) -> str:
        """s3://bucket[/prefix]."""


def resolve(objects: Objects, channel: ChannelRequest) -> list[ObjectInfo]:
    """Give the objects of a channel in key order, as listed once; read them only under these ETags.

    `S3Prefix` takes every object whose key begins with the URI's key, as the service does: `s3://b/data` covers
    `data.csv` and `data/1.csv`. Empty folder markers and `_SUCCESS` marks of writers are no data.

    Raises:
        InvalidData: the bucket or every object is missing, there are too many, or the kind of listing is not read here.
    """
    if channel.s3_data_type != "S3Prefix":
        raise InvalidData(
            where="S3DataType", found=channel.s3_data_type, problem="is not read here", fix="use S3Prefix"
        )
    if not names.is_s3_uri(channel.s3_uri):
        raise InvalidData(where="S3Uri", found=channel.s3_uri, problem="is not an s3:// URI", fix="s3://bucket/prefix")
    bucket, prefix = names.split_s3_uri(channel.s3_uri)
    if not objects.bucket_exists(bucket):
        raise InvalidData(
            where=channel.s3_uri, found=bucket, problem="the bucket does not exist", fix="create it or correct the URI"
        )
    found: list[ObjectInfo] = []
    for info in objects.list(bucket, prefix):
        if _is_marker(info):
            continue
        found.append(info)
        if len(found) > MAX_FILES:
            raise InvalidData(
                where=channel.s3_uri,
                problem=f"more than {MAX_FILES} objects lie under this prefix",
                fix="name the prefix of the data alone, or write fewer and larger files",
            )
    if not found:
        raise InvalidData(
            where=channel.s3_uri,
            problem="no object lies under this prefix",
            fix="upload the data first, or correct the URI (keys are compared letter by letter)",
        )
    return found


def _is_marker(info: ObjectInfo) -> bool:
    return info.size_bytes == 0 and (info.key.endswith("/") or info.key.rpartition("/")[2] == "_SUCCESS")
