"""Brings a job's input objects to local files: listed once, pinned by ETag, refused if they change."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gyropilot.control import roles
from gyropilot.control.admission import S3Source, source_of
from gyropilot.control.house import House
from gyropilot.data import channels
from gyropilot.files import sync
from gyropilot.problems.contract import LocalChannel, LocalFile
from gyropilot.store.objects import Objects

Json = Any


def pin(house: House, request: Mapping[str, Json]) -> list[Json]:
    """List the objects of each channel and give them as JSON, one list a channel.

    Raises:
        InvalidData: a channel holds no object (any more).
        NotAllowed: the role is gone.
    """
    objects = roles.objects_of_job(house, request["RoleArn"])
    return [_pinned_channel(objects, source_of(channel)) for channel in request["AutoMLJobInputDataConfig"]]


def fetch(house: House, request: Mapping[str, Json], pinned: list[Json], folder: Path) -> tuple[LocalChannel, ...]:
    """Give the channels with every pinned object as a local file below `folder`; files already there are kept.

    Raises:
        InvalidData: an object is not the one that was pinned.
        NotAllowed: the role is gone, or does not cover an object any more.
    """
    objects = roles.objects_of_job(house, request["RoleArn"])
    folder.mkdir(parents=True, exist_ok=True)
    return tuple(
        LocalChannel(
            channel_type=channel.get("ChannelType", "training"),
            content_type=channel.get("ContentType", "text/csv;header=present"),
            compression=channel.get("CompressionType", "None"),
            files=tuple(_local_file(objects, one, folder / f"{number}-{i}") for i, one in enumerate(pinned[number])),
        )
        for number, channel in enumerate(request["AutoMLJobInputDataConfig"])
    )


def _pinned_channel(objects: Objects, source: S3Source) -> list[Json]:
    return [
        {"bucket": one.bucket, "key": one.key, "etag": one.etag, "size_bytes": one.size_bytes}
        for one in channels.resolve(objects, source)
    ]


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
