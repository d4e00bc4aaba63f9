"""Fetches a model that lies under a prefix of a bucket."""

from __future__ import annotations

from pathlib import Path

from gyropilot import names
from gyropilot.base_models.folder import is_wanted
from gyropilot.base_models.progress import Progress
from gyropilot.errors import InvalidData
from gyropilot.store.objects import Objects


def fetch(objects: Objects, uri: str, scratch: Path, on_progress: Progress) -> Path:
    """Give a new folder below `scratch` with the usable files that lie directly under `uri`.

    Raises:
        InvalidData: nothing usable lies there, or an object changed meanwhile.
    """
    if not names.is_s3_uri(uri):
        raise InvalidData(where="source", found=uri, problem="is no s3:// URI", fix="s3://bucket/prefix")
    bucket, key = names.split_s3_uri(uri)
    prefix = f"{key.rstrip('/')}/" if key else ""
    if not objects.bucket_exists(bucket):
        raise InvalidData(where=uri, found=bucket, problem="the bucket does not exist", fix="correct the URI")
    # a name with a slash lies deeper, and never becomes a path
    found = [info for info in objects.list(bucket, prefix) if is_wanted(info.key.removeprefix(prefix))]
    if not found:
        raise InvalidData(
            where=uri, problem="no model file lies under this prefix", fix="name the folder that holds config.json"
        )
    folder = scratch / "bucket"
    folder.mkdir()
    total = sum(info.size_bytes for info in found)
    done = 0
    for info in found:
        name = info.key.removeprefix(prefix)
        on_progress(f"fetching {name}", done, total)
        objects.fetch(bucket, info.key, folder / name, etag=info.etag)
        done += info.size_bytes
    return folder
