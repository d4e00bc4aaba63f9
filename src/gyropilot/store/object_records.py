"""The JSON record beside an object's bytes: written, read, and rewritten as a whole."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path

from gyropilot.store.object_files import open_plain
from gyropilot.store.object_info import ObjectDetails, ObjectInfo, StoredObject

_LARGEST_BYTES = 1 << 20


def written(record: StoredObject) -> bytes:
    """Give the record as JSON."""
    info, details = record.info, record.details
    return json.dumps(
        {
            "key": info.key,
            "size_bytes": info.size_bytes,
            "etag": info.etag,
            "modified_at": info.modified_at.isoformat(),
            "data_name": record.data_name,
            "upload_id": record.upload_id,
        }
        | details_as_json(details)
    ).encode()


def details_as_json(details: ObjectDetails) -> dict[str, object]:
    """Give what a writer said of an object as JSON values."""
    return {
        "content_type": details.content_type,
        "metadata": dict(details.metadata),
        "headers": dict(details.headers),
        "checksums": dict(details.checksums),
    }


def details_of(values: dict[str, object]) -> ObjectDetails:
    """Give back what `details_as_json` wrote."""
    return ObjectDetails(
        content_type=str(values["content_type"]),
        metadata=strings(values["metadata"]),
        headers=strings(values["headers"]),
        checksums=strings(values["checksums"]),
    )


def read(bucket: str, path: Path) -> StoredObject | None:
    """Give the record at `path`; None where there is none."""
    values = read_json(path)
    if values is None:
        return None
    details = details_of(values)
    return StoredObject(
        info=ObjectInfo(
            bucket=bucket,
            key=str(values["key"]),
            size_bytes=int(str(values["size_bytes"])),
            etag=str(values["etag"]),
            modified_at=datetime.fromisoformat(str(values["modified_at"])),
            content_type=details.content_type,
            metadata=dict(details.metadata),
        ),
        details=details,
        data_name=str(values["data_name"]),
        upload_id=str(values["upload_id"]),
    )


def read_json(path: Path) -> dict[str, object] | None:
    """Give the JSON object at `path`; None where there is no file."""
    try:
        descriptor = open_plain(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        values: dict[str, object] = json.loads(os.read(descriptor, _LARGEST_BYTES))
    finally:
        os.close(descriptor)
    return values


def strings(value: object) -> dict[str, str]:
    """Give a JSON object of strings."""
    return {str(name): str(text) for name, text in value.items()} if isinstance(value, dict) else {}
