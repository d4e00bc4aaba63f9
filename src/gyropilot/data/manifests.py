"""Reads the manifest of a channel or a transform job: the objects, by name, below one prefix."""

from __future__ import annotations

import json
from typing import Any

from gyropilot import names
from gyropilot.errors import Fault, InvalidData
from gyropilot.store.objects import Objects

Json = Any

MAX_FILES = 10_000
"""Objects in one channel; a longer listing is a wrong prefix more often than a data set."""
_MANIFEST_BYTES = 16 * 2**20
_MANIFEST_FORM = 'write [{"prefix": "s3://bucket/folder/"}, "one.csv", "two.csv"]'


def read(objects: Objects, uri: str) -> tuple[str, list[str]]:
    """Give the prefix and the relative keys that a manifest names.

    Raises:
        InvalidData: it is not there, or no manifest; with every fault.
    """
    bucket, key = names.split_s3_uri(uri)
    info = objects.head(bucket, key)
    if info is None:
        fix = "S3DataType ManifestFile wants the URI of one object; a folder is read by S3Prefix"
        raise InvalidData(where=uri, problem="there is no such object", fix=fix)
    if info.size_bytes > _MANIFEST_BYTES:
        problem = f"is longer than the {_MANIFEST_BYTES} bytes a manifest may have"
        raise InvalidData(where=uri, found=info.size_bytes, problem=problem, fix="name fewer objects")
    try:
        parsed = json.loads(objects.read(bucket, key))
    except (ValueError, RecursionError) as error:
        raise InvalidData(where=uri, problem=f"is no JSON: {error}", fix=_MANIFEST_FORM) from error
    return _read_manifest(uri, parsed)


def _read_manifest(uri: str, parsed: Json) -> tuple[str, list[str]]:
    if not isinstance(parsed, list) or len(parsed) < 2 or not isinstance(parsed[0], dict):
        problem = "is no manifest: a JSON array of an object with the prefix, then at least one key"
        raise InvalidData(where=uri, problem=problem, fix=_MANIFEST_FORM)
    prefix, keys = parsed[0].get("prefix"), parsed[1:]
    faults = []
    if list(parsed[0]) != ["prefix"] or not isinstance(prefix, str) or not names.is_s3_uri(prefix):
        faults.append(Fault(where=f"{uri} [0]", found=parsed[0], problem="is no prefix", fix=_MANIFEST_FORM))
    for number, one in enumerate(keys, start=1):
        if not isinstance(one, str) or not one or {"..", "."} & set(one.split("/")):
            where, problem = f"{uri} [{number}]", "is no key below the prefix"
            faults.append(Fault(where=where, found=one, problem=problem, fix="name each object by a text, in full"))
    if len(keys) > MAX_FILES:
        faults.append(Fault(where=uri, found=len(keys), problem=f"names more than {MAX_FILES} objects", fix="split it"))
    if faults:
        raise InvalidData.of(faults)
    return str(prefix), keys
