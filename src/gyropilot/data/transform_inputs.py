"""Finds the objects that a transform job reads, and says under which name each answer goes to the output path.

S3Prefix        s3://b/in/       b/in/x/a.csv    -> x/a.csv.out
                s3://b/in        b/in/x/a.csv    -> x/a.csv.out      a folder named without its slash
                s3://b/in/a      b/in/a1.csv     -> a1.csv.out       from the last slash of the URI on
ManifestFile    [{"prefix": "s3://b/in/"}, "x/a.csv"]                -> x/a.csv.out
"""

from __future__ import annotations

from dataclasses import dataclass

from gyropilot import names
from gyropilot.data import channels, manifests
from gyropilot.errors import Fault, InvalidData
from gyropilot.store.objects import ObjectInfo, Objects

SUFFIX = ".out"


@dataclass(frozen=True, kw_only=True)
class TransformSource:
    """Where the input lies, as TransformInput.DataSource.S3DataSource says."""

    s3_data_type: str
    s3_uri: str


@dataclass(frozen=True, kw_only=True)
class TransformObject:
    """One object to read, pinned by its ETag, and where its answers go."""

    bucket: str
    key: str
    etag: str
    size_bytes: int
    output: str
    """Relative to the output path."""

    @property
    def uri(self) -> str:
        """The object's `s3://bucket/key`."""
        return f"s3://{self.bucket}/{self.key}"


def resolve(objects: Objects, source: TransformSource) -> list[TransformObject]:
    """Give the objects of a job, in key order or in that of the manifest.

    Raises:
        InvalidData: there are none or too many, the manifest is none, an object that it names is missing, or two would
            be written to one place.
        NotAllowed: the role may not read one of them.
    """
    if source.s3_data_type == "ManifestFile":
        found = _of_manifest(objects, source.s3_uri)
    else:
        found = _of_prefix(objects, source)
    _check_places(source.s3_uri, found)
    return found


def _of_manifest(objects: Objects, uri: str) -> list[TransformObject]:
    prefix, keys = manifests.read(objects, uri)
    bucket, start = names.split_s3_uri(prefix)
    found, faults = [], []
    for number, key in enumerate(keys, start=1):
        info = objects.head(bucket, start + key)
        if info is None:
            problem = f"there is no object {prefix}{key}"
            faults.append(Fault(where=f"{uri} [{number}]", problem=problem, fix="upload it, or take it out"))
        else:
            found.append(_pinned(info, key.lstrip("/")))
    if faults:
        raise InvalidData.of(faults)
    return found


def _of_prefix(objects: Objects, source: TransformSource) -> list[TransformObject]:
    _, prefix = names.split_s3_uri(source.s3_uri)
    return [_pinned(info, _relative(info.key, prefix)) for info in channels.resolve(objects, source)]


def _relative(key: str, prefix: str) -> str:
    if prefix and key.startswith(f"{prefix.rstrip('/')}/"):
        rest = key[len(prefix.rstrip("/")) + 1 :]
    else:
        rest = key[prefix.rfind("/") + 1 :]
    return rest.lstrip("/") or key.rpartition("/")[2]


def _pinned(info: ObjectInfo, relative: str) -> TransformObject:
    return TransformObject(
        bucket=info.bucket, key=info.key, etag=info.etag, size_bytes=info.size_bytes, output=f"{relative}{SUFFIX}"
    )


def _check_places(uri: str, found: list[TransformObject]) -> None:
    first_by_place: dict[str, TransformObject] = {}
    faults = []
    for one in found:
        first = first_by_place.setdefault(one.output, one)
        if first is not one:
            problem = f"{first.uri} and {one.uri} would both be answered in {one.output}"
            faults.append(Fault(where=uri, problem=problem, fix="name a narrower prefix, or use a manifest"))
    if faults:
        raise InvalidData.of(faults)
