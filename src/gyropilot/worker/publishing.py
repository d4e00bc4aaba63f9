"""Puts a job's artifacts into its bucket; the manifest of digests goes last, so that what has one is whole."""

from __future__ import annotations

import hashlib
import json
import mimetypes
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from gyropilot.files import sha256_of
from gyropilot.names import split_s3_uri
from gyropilot.store.objects import Objects

Json = Any
MANIFEST = "manifest.json"


def output_uri(request: Mapping[str, Json]) -> str:
    """Give the s3 URI below which everything of the job lies, without a slash at its end."""
    return f"{request['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{request['AutoMLJobName']}"


def names_in(folder: Path) -> list[str]:
    """Give the relative names of what `publish` would put."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sorted(path.relative_to(folder).as_posix() for path in files)


def publish(objects: Objects, folder: Path, uri: str, *, before_each: Callable[[], None]) -> dict[str, Json]:
    """Put every file of `folder` below `uri` and give sha256 and size by relative name.

    `before_each` is called before each put and raises where the job is another's by now, whose files have these names.
    """
    bucket, prefix = split_s3_uri(uri)
    digests = {}
    for name in names_in(folder):
        path = folder / name
        before_each()
        objects.put_file(bucket, f"{prefix}/{name}", path, _content_type(name))
        digests[name] = {"sha256": sha256_of(path), "size_bytes": path.stat().st_size}
    return digests


def publish_manifest(objects: Objects, uri: str, digests: Mapping[str, Json]) -> str:
    """Put the manifest and give its own sha256."""
    bucket, prefix = split_s3_uri(uri)
    data = json.dumps({"files": dict(sorted(digests.items()))}, indent=1).encode()
    objects.put_bytes(bucket, f"{prefix}/{MANIFEST}", data, "application/json")
    return hashlib.sha256(data).hexdigest()


def withdraw(objects: Objects, names: Iterable[str], uri: str, *, before_each: Callable[[], None]) -> None:
    """Remove what the job put, manifest first: a failed job leaves nothing that looks whole.

    `names` are those noted before they were put; what else lies below `uri` is not ours. `before_each` is that of
    `publish`.
    """
    bucket, prefix = split_s3_uri(uri)
    for name in sorted(names, key=lambda one: one != MANIFEST):
        before_each()
        objects.delete(bucket, f"{prefix}/{name}")


def _content_type(name: str) -> str:
    if name.endswith(".jsonl"):
        return "application/jsonlines"
    return mimetypes.guess_type(name)[0] or "application/octet-stream"
