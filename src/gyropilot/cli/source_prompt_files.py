"""Brings the files of a prompt that is to be imported to where a child may read them."""

from __future__ import annotations

from pathlib import Path

import click

from gyropilot import names
from gyropilot.errors import InvalidData
from gyropilot.problems.text_generation import file_names
from gyropilot.settings import Settings
from gyropilot.store import objects

_WANTED = (
    *(file_names.PEFT_CONFIG, file_names.PEFT_TENSORS, file_names.PEFT_PICKLE),
    *(file_names.OWN_CONFIG, file_names.OWN_TENSORS),
)
_OF_PEER = ("config.yml", "encoder.pt", "decoder.pt")
_KEYS = (*_WANTED, *(f"{file_names.ADAPTER}/{name}" for name in _WANTED), *_OF_PEER)
_MOST_BYTES = 2**30


def brought(place: str, settings: Settings, to: Path) -> Path:
    """Give the folder of a prompt; one in a bucket is fetched into `to`, as far as its files are known.

    Raises:
        InvalidData: nothing of a prompt lies under the s3:// URI.
        BadParameter: there is no such folder.
    """
    if not names.is_s3_uri(place):
        if not Path(place).is_dir():
            raise click.BadParameter(f"{place} is no folder", param_hint="FOLDER|S3_URI")
        return Path(place).resolve()
    return _fetched(place, settings, to)


def _fetched(uri: str, settings: Settings, to: Path) -> Path:
    store = objects.open_objects(settings)
    bucket, key = names.split_s3_uri(uri)
    prefix = f"{key.rstrip('/')}/" if key.strip("/") else ""
    found = [store.head(bucket, prefix + name) for name in _KEYS] if store.bucket_exists(bucket) else []
    there = [info for info in found if info is not None and info.size_bytes <= _MOST_BYTES]
    if not there:
        fix = "name the folder that holds them, as s3://bucket/job"
        raise InvalidData(where=uri, problem=f"none of {', '.join(_KEYS)} lies there", fix=fix)
    for info in there:
        target = to / info.key.removeprefix(prefix)
        target.parent.mkdir(parents=True, exist_ok=True)
        store.fetch(bucket, info.key, target, etag=info.etag)
    return to
