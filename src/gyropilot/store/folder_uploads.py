"""Multipart uploads of the embedded object store, durable from the first call; used by the S3 door.

<root>/.uploads/<id>/upload         bucket, key and what the writer said of the object
<root>/.uploads/<id>/00001@part     a part's record; it names
<root>/.uploads/<id>/00001@8f0c...  the file of its bytes
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from gyropilot import clock
from gyropilot.files import sync
from gyropilot.names import new_id
from gyropilot.store import object_records
from gyropilot.store.folder_objects import Check, FolderObjects
from gyropilot.store.object_files import Draft, make_folders
from gyropilot.store.object_info import ObjectDetails, StoredObject

_ID = re.compile(r"[0-9a-f]{32}")
_REMOVED = ".removed"


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A multipart upload under way."""

    id: str
    bucket: str
    key: str
    details: ObjectDetails
    checksum_algorithm: str
    """Algorithm of the parts' checksums, as `crc32`; empty where the writer chose none."""
    checksum_type: str
    """`COMPOSITE` or `FULL_OBJECT`; empty where the writer chose no algorithm."""
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of an upload."""

    number: int
    size_bytes: int
    etag: str
    checksums: Mapping[str, str]
    modified_at: datetime
    data_name: str


class FolderUploads:
    """The multipart uploads of one `FolderObjects`."""

    def __init__(self, objects: FolderObjects) -> None:
        self._objects = objects
        self._root = make_folders(objects.root, (".uploads",))
        for folder in self._root.glob(f"*{_REMOVED}"):
            shutil.rmtree(folder, ignore_errors=True)  # another process may be at it too

    def create(
        self, bucket: str, key: str, details: ObjectDetails, *, checksum_algorithm: str, checksum_type: str
    ) -> Upload:
        """Begin an upload."""
        upload = Upload(
            id=new_id(),
            bucket=bucket,
            key=key,
            details=details,
            checksum_algorithm=checksum_algorithm,
            checksum_type=checksum_type,
            created_at=clock.now(),
        )
        folder = make_folders(self._root, (upload.id,))
        values = {
            "bucket": bucket,
            "key": key,
            "checksum_algorithm": checksum_algorithm,
            "checksum_type": checksum_type,
            "created_at": upload.created_at.isoformat(),
        }
        self._write(folder / "upload", values | object_records.details_as_json(details))
        return upload

    def find(self, bucket: str, key: str, upload_id: str) -> Upload | None:
        """Give an upload under way; None where there is none of that id for that key."""
        upload = self._read(upload_id) if _ID.fullmatch(upload_id) else None
        return upload if upload and (upload.bucket, upload.key) == (bucket, key) else None

    def of_bucket(self, bucket: str) -> list[Upload]:
        """Give the uploads under way, by key, then by age."""
        found = (self._read(folder.name) for folder in self._root.iterdir() if _ID.fullmatch(folder.name))
        mine = [upload for upload in found if upload and upload.bucket == bucket]
        return sorted(mine, key=lambda upload: (upload.key.encode(), upload.created_at, upload.id))

    def put_part(self, upload: Upload, number: int, draft: Draft, checksums: Mapping[str, str]) -> Part | None:
        """Make a draft the part of that number; None where the upload ended meanwhile."""
        part = Part(
            number=number,
            size_bytes=draft.size_bytes,
            etag=draft.md5().hex(),
            checksums=checksums,
            modified_at=clock.now(),
            data_name=f"{number:05d}@{new_id()[:16]}",
        )
        folder = self._root / upload.id
        former = self._read_part(folder / f"{number:05d}@part")
        try:
            draft.move(folder / part.data_name)
            sync(folder)
            values = {"number": number, "size_bytes": part.size_bytes, "etag": part.etag, "data_name": part.data_name}
            when = {"checksums": dict(checksums), "modified_at": part.modified_at.isoformat()}
            self._write(folder / f"{number:05d}@part", values | when)
        except FileNotFoundError:
            return None
        if former:
            (folder / former.data_name).unlink(missing_ok=True)
        return part

    def parts(self, upload: Upload) -> list[Part]:
        """Give the parts that came so far, by number."""
        found = (self._read_part(path) for path in sorted((self._root / upload.id).glob("*@part")))
        return [part for part in found if part]

    def complete(
        self, upload: Upload, parts: Sequence[Part], *, checksums: Mapping[str, str], check: Check
    ) -> StoredObject:
        """Make the parts, in the order given, the object, and end the upload.

        Killed in between, the upload stands as it was, and completing it again gives the same object.

        Raises:
            FileNotFoundError: a part was replaced, or the upload ended, meanwhile.
            NotFound: the bucket is gone.
        """
        digests = hashlib.md5(b"".join(bytes.fromhex(part.etag) for part in parts), usedforsecurity=False)
        with self._objects.draft() as draft:
            for part in parts:
                draft.append(self._root / upload.id / part.data_name)
            done = self._objects.commit(
                draft,
                upload.bucket,
                upload.key,
                replace(upload.details, checksums=checksums),
                check=check,
                etag=f"{digests.hexdigest()}-{len(parts)}",
                upload_id=upload.id,
            )
        self.abort(upload)
        return done

    def abort(self, upload: Upload) -> None:
        """End an upload and drop its parts."""
        removed = self._root / f"{upload.id}{_REMOVED}"
        with contextlib.suppress(FileNotFoundError):
            (self._root / upload.id).rename(removed)
            sync(self._root)
            shutil.rmtree(removed, ignore_errors=True)

    def _read(self, upload_id: str) -> Upload | None:
        values = object_records.read_json(self._root / upload_id / "upload")
        if values is None:
            return None
        return Upload(
            id=upload_id,
            bucket=str(values["bucket"]),
            key=str(values["key"]),
            details=object_records.details_of(values),
            checksum_algorithm=str(values["checksum_algorithm"]),
            checksum_type=str(values["checksum_type"]),
            created_at=datetime.fromisoformat(str(values["created_at"])),
        )

    def _read_part(self, path: Path) -> Part | None:
        values = object_records.read_json(path)
        if values is None:
            return None
        return Part(
            number=int(str(values["number"])),
            size_bytes=int(str(values["size_bytes"])),
            etag=str(values["etag"]),
            checksums=object_records.strings(values["checksums"]),
            modified_at=datetime.fromisoformat(str(values["modified_at"])),
            data_name=str(values["data_name"]),
        )

    def _write(self, path: Path, values: Mapping[str, object]) -> None:
        self._objects.write_whole(path, json.dumps(values).encode())
