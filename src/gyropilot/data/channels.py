"""Finds the objects that a channel of a request names; called when a job is created and again when it starts."""

from __future__ import annotations

from typing import Protocol

from gyropilot import names
from gyropilot.data import manifests
from gyropilot.errors import Fault, InvalidData
from gyropilot.store.objects import ObjectInfo, Objects

_MOST_FAULTS = 20


class ChannelRequest(Protocol):
    """Where a channel's data lies, as DataSource.S3DataSource of the request says."""

    @property
    def s3_data_type(self) -> str:
        """S3Prefix, ManifestFile or AugmentedManifestFile."""

    @property
    def s3_uri(self) -> str:
        """s3://bucket[/prefix]."""


def resolve(objects: Objects, channel: ChannelRequest) -> list[ObjectInfo]:
    """Give the objects of a channel in key order, or in a manifest's, as listed once; read them only under these ETags.

    `ManifestFile` takes the objects that the object at the URI names. `S3Prefix` takes every object whose key begins
    with the URI's key, as the service does: `s3://b/data` covers `data.csv` and `data/1.csv`. Empty folder markers and
    `_SUCCESS` marks of writers are no data.

    Raises:
        InvalidData: the bucket or objects are missing, there are too many, or the kind of listing is not read here.
        NotAllowed: the role may not read an object that a manifest names.
    """
    if channel.s3_data_type not in {"S3Prefix", "ManifestFile"}:
        raise InvalidData(
            where="S3DataType",
            found=channel.s3_data_type,
            problem="is not read here",
            fix="use S3Prefix or ManifestFile",
        )
    if not names.is_s3_uri(channel.s3_uri):
        raise InvalidData(where="S3Uri", found=channel.s3_uri, problem="is not an s3:// URI", fix="s3://bucket/prefix")
    bucket, prefix = names.split_s3_uri(channel.s3_uri)
    if not objects.bucket_exists(bucket):
        raise InvalidData(
            where=channel.s3_uri, found=bucket, problem="the bucket does not exist", fix="create it or correct the URI"
        )
    if channel.s3_data_type == "ManifestFile":
        return _named(objects, channel.s3_uri)
    return _below(objects, bucket, prefix, channel.s3_uri)


def _named(objects: Objects, uri: str) -> list[ObjectInfo]:
    """Give the objects that a manifest names, in its order."""
    prefix, keys = manifests.read(objects, uri)
    bucket, start = names.split_s3_uri(prefix)
    found, faults = [], []
    taken: set[str] = set()
    for number, key in enumerate(keys, start=1):
        info = objects.head(bucket, start + key)
        if info is None:
            problem = f"there is no object {prefix}{key}"
            faults.append(Fault(where=f"{uri} [{number}]", problem=problem, fix="upload it, or take it out"))
        elif info.key in taken:
            faults.append(Fault(where=f"{uri} [{number}]", found=key, problem="is named twice", fix="name it once"))
        else:
            taken.add(info.key)
            found.append(info)
    if faults:
        raise InvalidData.of(faults[:_MOST_FAULTS])
    return found


def _below(objects: Objects, bucket: str, prefix: str, uri: str) -> list[ObjectInfo]:
    found: list[ObjectInfo] = []
    for info in objects.list(bucket, prefix):
        if _is_marker(info):
            continue
        found.append(info)
        if len(found) > manifests.MAX_FILES:
            raise InvalidData(
                where=uri,
                problem=f"more than {manifests.MAX_FILES} objects lie under this prefix",
                fix="name the prefix of the data alone, or write fewer and larger files",
            )
    if not found:
        raise InvalidData(
            where=uri,
            problem="no object lies under this prefix",
            fix="upload the data first, or correct the URI (keys are compared letter by letter)",
        )
    return found


def _is_marker(info: ObjectInfo) -> bool:
    return info.size_bytes == 0 and (info.key.endswith("/") or info.key.rpartition("/")[2] == "_SUCCESS")
