"""Brings a job's input objects to local files: listed once, pinned by ETag, refused if they change."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gyropilot.control.admission import S3Source, readable_objects, source_of
from gyropilot.control.house import House
from gyropilot.problems.contract import LocalChannel, LocalFile
from gyropilot.store import roles

Json = Any


def pin(house: House, request: Mapping[str, Json]) -> list[Json]:
    """List the objects of each channel and give them as JSON, one list a channel.

    Raises:
        InvalidData: a channel holds no object (any more), or the role is gone.
    """
    role = roles.find(house.db, request["RoleArn"])
    prefixes = role.read_prefixes if role else ()
    return [_pinned_channel(house, source_of(channel), prefixes) for channel in request["AutoMLJobInputDataConfig"]]


def fetch(house: House, request: Mapping[str, Json], pinned: list[Json], folder: Path) -> tuple[LocalChannel, ...]:
    """Give the channels with every pinned object as a local file below `folder`; files already there are kept.

    Raises:
        InvalidData: an object is not the one that was pinned.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return tuple(
        LocalChannel(
            channel_type=channel.get("ChannelType", "training"),
            content_type=channel.get("ContentType", "text/csv;header=present"),
            compression=channel.get("CompressionType", "None"),
            files=tuple(_local_file(house, one, folder / f"{number}-{i}") for i, one in enumerate(pinned[number])),
        )
        for number, channel in enumerate(request["AutoMLJobInputDataConfig"])
    )


def _pinned_channel(house: House, source: S3Source, prefixes: tuple[str, ...]) -> list[Json]:
    return [
        {"bucket": one.bucket, "key": one.key, "etag": one.etag, "size_bytes": one.size_bytes}
        for one in readable_objects(house, source, prefixes)
    ]


def _local_file(house: House, pinned: Mapping[str, Json], path: Path) -> LocalFile:
    if not path.exists() or path.stat().st_size != pinned["size_bytes"]:
        house.objects.fetch(pinned["bucket"], pinned["key"], path, etag=pinned["etag"])
    return LocalFile(
        path=path,
        uri=f"s3://{pinned['bucket']}/{pinned['key']}",
        size_bytes=pinned["size_bytes"],
        etag=pinned["etag"],
    )
