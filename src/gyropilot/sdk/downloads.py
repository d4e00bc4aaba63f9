"""Fetches a job's artifacts, each checked against the manifest that the job wrote last; called by the client.

    <folder>/<name>                                an artifact, whole
    <folder>/.<last part of name>.<digest>.partial what an interrupted download left; the next one goes on from it

Names come from the service and are not trusted: none leads out of the folder, and nothing that lies there is changed
unless it is asked for.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from gyropilot.sdk.errors import NotDownloaded
from gyropilot.sdk.objects import Objects

Json = Any
OnFile = Callable[[str, int, int], None]
"""Hears how many bytes of how many of which artifact are here."""

MANIFEST = "manifest.json"
_BLOCK_BYTES = 1 << 20
_MAX_MANIFEST_BYTES = 64 << 20
_SHA256_CHARACTERS = 64


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """One file of a job's output, as its manifest has it."""

    name: str
    """Relative to the output, as model/config.json."""
    sha256: str
    size_bytes: int


def read_manifest(objects: Objects, artifacts: Mapping[str, Json]) -> list[Artifact]:
    """Give the artifacts of a job in name order, its manifest among them.

    Args:
        objects: the store.
        artifacts: where a job's output and manifest lie, and the manifest's own digest.

    Raises:
        NotDownloaded: the manifest is not the one that the job wrote, or names what no artifact is called.
    """
    data = bytearray()
    for block in objects.blocks(artifacts["manifest"]):
        data += block
        if len(data) > _MAX_MANIFEST_BYTES:
            raise NotDownloaded(f"{artifacts['manifest']} is longer than any manifest; it is not the job's")
    digest = hashlib.sha256(data).hexdigest()
    if digest != artifacts["manifest_sha256"]:
        raise NotDownloaded(
            f"{artifacts['manifest']} was changed after the job wrote it; nothing in it can be relied on"
        )
    files: Mapping[str, Mapping[str, Json]] = json.loads(data)["files"]
    found = [Artifact(name=name, sha256=one["sha256"], size_bytes=one["size_bytes"]) for name, one in files.items()]
    for one in found:
        _check_name(one)
    found.append(Artifact(name=MANIFEST, sha256=digest, size_bytes=len(data)))
    return sorted(found, key=lambda one: one.name)


def picked(artifacts: Sequence[Artifact], patterns: Sequence[str]) -> list[Artifact]:
    """Give those whose names fit one of the patterns, as `model/*`; without patterns all.

    Raises:
        NotDownloaded: a pattern fits none.
    """
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(one.name, pattern) for one in artifacts):
            names = ", ".join(one.name for one in artifacts)
            raise NotDownloaded(f"no artifact fits {pattern!r}; there are {names}")
    return [one for one in artifacts if not patterns or any(fnmatch.fnmatchcase(one.name, it) for it in patterns)]


class Download:
    """Artifacts on their way from `uri` into `folder`."""

    def __init__(self, objects: Objects, uri: str, folder: Path) -> None:
        self._objects, self._uri, self._folder = objects, uri, folder

    def missing(self, artifacts: Sequence[Artifact], *, overwrite: bool) -> list[Artifact]:
        """Give those that are not here yet with the right content; nothing is changed.

        Raises:
            NotDownloaded: something else lies in the place of one, and is not to be overwritten.
        """
        wanted, in_the_way = [], []
        for one in artifacts:
            place = self._place(one.name)
            is_file = place.is_file() and not place.is_symlink()
            if is_file and _digest(place) == one.sha256:
                continue
            wanted.append(one)
            if (place.exists() or place.is_symlink()) and not (is_file and overwrite):
                in_the_way.append(str(place))
        if in_the_way:
            raise NotDownloaded(
                f"something else lies in the place of {', '.join(in_the_way)};"
                " choose another folder, or overwrite files with --overwrite"
            )
        return wanted

    def fetch(self, artifact: Artifact, on_file: OnFile) -> Path:
        """Fetch one, going on from what an interrupted download left; give where it lies.

        Raises:
            NotDownloaded: what came is not what the manifest says.
        """
        place = self._place(artifact.name)
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_name(f".{place.name}.{artifact.sha256[:16]}.partial")
        if partial.is_symlink():
            raise NotDownloaded(f"{partial} is a link; remove it")
        with _opened(partial) as file:
            digest, done = _resumed(file, artifact.size_bytes)
            for block in self._blocks(artifact, done):
                file.write(block)
                digest.update(block)
                done += len(block)
                on_file(artifact.name, done, artifact.size_bytes)
            file.flush()
            os.fsync(file.fileno())
        if done != artifact.size_bytes or digest.hexdigest() != artifact.sha256:
            partial.unlink()
            raise NotDownloaded(
                f"{self._uri}/{artifact.name} is not what the job wrote (SHA-256 {digest.hexdigest()}, the manifest has"
                f" {artifact.sha256}): it was changed or damaged afterwards; run the job again"
            )
        partial.replace(place)
        return place

    def _blocks(self, artifact: Artifact, start: int) -> Iterator[bytes]:
        """Give the bytes that are missing, never more than the manifest announces and one block."""
        if start >= artifact.size_bytes:
            return
        left = artifact.size_bytes - start
        for block in self._objects.blocks(f"{self._uri}/{artifact.name}", start=start):
            yield block
            left -= len(block)
            if left < 0:
                return

    def _place(self, name: str) -> Path:
        """Give where an artifact goes; links in the folder cannot lead it out."""
        folder = self._folder.resolve()
        place = folder / name
        if not place.parent.resolve().is_relative_to(folder):
            raise NotDownloaded(f"{place.parent} leads out of {folder} by a link; remove it or choose another folder")
        return place


def _check_name(artifact: Artifact) -> None:
    name = artifact.name
    parts = name.split("/")
    is_plain = all(part not in {"", ".", ".."} and "\\" not in part and part.isprintable() for part in parts)
    if not is_plain or name == MANIFEST or len(artifact.sha256) != _SHA256_CHARACTERS or not artifact.sha256.isalnum():
        raise NotDownloaded(f"the manifest names {name!r}, which no artifact is called; nothing was fetched")


def _opened(partial: Path) -> BinaryIO:
    descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    return os.fdopen(descriptor, "r+b")


def _resumed(file: BinaryIO, size_bytes: int) -> tuple[hashlib._Hash, int]:
    """Give the digest of what is there already, and how much that is; what is longer than it may be is dropped."""
    if os.fstat(file.fileno()).st_size > size_bytes:
        file.truncate(0)
    digest, done = hashlib.sha256(), 0
    while block := file.read(_BLOCK_BYTES):
        digest.update(block)
        done += len(block)
    return digest, done


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
