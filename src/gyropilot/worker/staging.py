"""Brings a job's input objects to local files: listed once, pinned by ETag, refused if they change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gyropilot.control import roles
from gyropilot.control.admission import S3Source, source_of
from gyropilot.control.house import House
from gyropilot.data import channels
from gyropilot.errors import InvalidData
from gyropilot.files import sync
from gyropilot.names import split_s3_uri
from gyropilot.problems.contract import LocalChannel, LocalFile
from gyropilot.store.objects import Objects

Json = Any


def pin(house: House, request: Mapping[str, Json], extra: Iterable[str]) -> dict[str, Json]:
    """List the objects of each channel, and find the single ones at the URIs `extra`; gives both as JSON.

    Raises:
        InvalidData: a channel holds no object (any more), or a single one is not there.
        NotAllowed: the role is gone, or does not cover an object.
    """
    objects = roles.objects_of_job(house, request["RoleArn"])
    return {
        "channels": [_pinned_channel(objects, source_of(one)) for one in request["AutoMLJobInputDataConfig"]],
        "extra": [_pinned_object(objects, uri) for uri in extra],
    }


def fetch(
    house: House, request: Mapping[str, Json], pinned: Mapping[str, Json], folder: Path
) -> tuple[tuple[LocalChannel, ...], tuple[LocalFile, ...]]:
    """Give channels and single objects, every pinned one as a local file below `folder`; files there are kept.

    Raises:
        InvalidData: an object is not the one that was pinned.
        NotAllowed: the role is gone, or does not cover an object any more.
    """
    objects = roles.objects_of_job(house, request["RoleArn"])
    folder.mkdir(parents=True, exist_ok=True)
    fetched = tuple(
        LocalChannel(
            channel_type=channel.get("ChannelType", "training"),
            content_type=channel.get("ContentType", "text/csv;header=present"),
            compression=channel.get("CompressionType", "None"),
            files=tuple(_local_file(objects, one, folder / f"{number}-{i}") for i, one in enumerate(listed)),
        )
        for number, (channel, listed) in enumerate(
            zip(request["AutoMLJobInputDataConfig"], pinned["channels"], strict=True)
        )
    )
    single = (_local_file(objects, one, folder / f"extra-{i}") for i, one in enumerate(pinned["extra"]))
    return fetched, tuple(single)


def count(pinned: Mapping[str, Json]) -> int:
    """Give how many objects are pinned."""
    return sum(map(len, pinned["channels"])) + len(pinned["extra"])


def _pinned_channel(objects: Objects, source: S3Source) -> list[Json]:
    return [
        {"bucket": one.bucket, "key": one.key, "etag": one.etag, "size_bytes": one.size_bytes}
        for one in channels.resolve(objects, source)
    ]


def _pinned_object(objects: Objects, uri: str) -> Json:
    bucket, key = split_s3_uri(uri)
    found = objects.head(bucket, key)
    if found is None:
        raise InvalidData(where=uri, problem="there is no object of this name", fix="put it there, or name another")
    return {"bucket": found.bucket, "key": found.key, "etag": found.etag, "size_bytes": found.size_bytes}


def _local_file(objects: Objects, pinned: Mapping[str, Json], path: Path) -> LocalFile:
    if not path.exists():
        partial = path.with_name(f"{path.name}.partial")
        objects.fetch(pinned["bucket"], pinned["key"], partial, etag=pinned["etag"])
        sync(partial)
        partial.replace(path)
    return LocalFile(
        path=path,
        uri=f"s3://{pinned['bucket']}/{pinned['key']}",
        size_bytes=pinned["size_bytes"],
        etag=pinned["etag"],
    )
