"""The embedded object store: buckets are folders, objects are files; served by the S3 door, used directly by workers.

    <root>/.drafts/            bytes on their way in
    <root>/.locks/<bucket>     held while a bucket is changed
    <root>/.uploads/<id>/      multipart uploads under way (folder_uploads.py)
    <root>/<bucket>/@bucket    when the bucket was created, and whose it is
    <root>/<bucket>/...        objects: a record and the file of bytes that it names (object_names.py)

A put writes and syncs new bytes and a new record, then renames the record over the old one: that rename is the put.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Literal

from gyropilot import clock
from gyropilot.errors import InvalidData, InvalidRequest, NotFound
from gyropilot.files import sync
from gyropilot.names import ACCOUNT_ID, new_id
from gyropilot.store import object_records
from gyropilot.store.object_files import (
    BLOCK_BYTES,
    Draft,
    locked,
    make_folders,
    open_plain,
    refuse_links,
    sweep,
    write_new,
)
from gyropilot.store.object_info import (
    DEFAULT_CONTENT_TYPE,
    Bucket,
    Listing,
    ObjectDetails,
    ObjectInfo,
    StoredObject,
)
from gyropilot.store.object_names import MAX_KEY_BYTES, RECORD_SUFFIX, is_bucket_name, is_key, place
from gyropilot.store.object_walk import KeyWalk, page

Check = Callable[[StoredObject | None], None]


class FolderObjects:
    """Objects below `root`; any number of threads and processes may use one root at a time.

    Buckets belong to accounts; those that say nothing of theirs, to `first_account`. Who may do what is the caller's
    to know (`role_objects.py`, the S3 door).
    """

    def __init__(self, root: Path, first_account: str = ACCOUNT_ID) -> None:
        self.first_account = first_account
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.root = Path(os.path.realpath(root))
        self.drafts = make_folders(self.root, (".drafts",))
        self._locks = make_folders(self.root, (".locks",))
        sweep(self.drafts)

    # Buckets

    def bucket_exists(self, bucket: str) -> bool:
        """Say whether the bucket is there."""
        return is_bucket_name(bucket) and (self.root / bucket / "@bucket").is_file()

    def buckets(self) -> list[Bucket]:
        """Give all buckets by name."""
        names = sorted(entry.name for entry in os.scandir(self.root) if is_bucket_name(entry.name))
        found = [(name, object_records.read_json(self.root / name / "@bucket")) for name in names]
        return [
            Bucket(
                name=name,
                created_at=datetime.fromisoformat(str(values["created_at"])),
                account_id=self._owner_in(values),
            )
            for name, values in found
            if values is not None
        ]

    def owner_of(self, bucket: str) -> str | None:
        """Give the account that a bucket belongs to; None where there is no such bucket."""
        if not is_bucket_name(bucket):
            return None
        values = object_records.read_json(self.root / bucket / "@bucket")
        return None if values is None else self._owner_in(values)

    def create_bucket(self, bucket: str, account_id: str = "") -> bool:
        """Create a bucket of an account, by default the first; False where it was there.

        Raises:
            InvalidRequest: the name cannot name a bucket.
        """
        if not is_bucket_name(bucket):
            raise InvalidRequest(
                where="bucket", found=bucket, problem="is no bucket name", fix="use 3 to 63 of a-z, 0-9, '-' and '.'"
            )
        with self._locked(bucket):
            if self.bucket_exists(bucket):
                return False
            folder = make_folders(self.root, (bucket,))
            values = {"created_at": clock.now().isoformat(), "account_id": account_id or self.first_account}
            self.write_whole(folder / "@bucket", json.dumps(values).encode())
            return True

    def delete_bucket(self, bucket: str) -> Literal["deleted", "not empty"]:
        """Remove an empty bucket.

        Raises:
            NotFound: there is no such bucket.
        """
        with self._locked(bucket):
            folder = self._bucket_folder(bucket)
            if next(iter(KeyWalk(folder, b"")), None) is not None:
                return "not empty"
            (folder / "@bucket").unlink()
            sync(folder)
            shutil.rmtree(folder)
            sync(self.root)
            return "deleted"

    # Reading

    def list(self, bucket: str, prefix: str) -> Iterator[ObjectInfo]:
        """Give the objects whose keys begin with `prefix`, in UTF-8 byte order of the keys."""
        for _, path in KeyWalk(self._bucket_folder(bucket), prefix.encode()):
            if record := object_records.read(bucket, Path(path)):
                yield record.info

    def page(self, bucket: str, *, prefix: str, delimiter: str, after: str, limit: int) -> Listing:
        """Give the first `limit` objects and common prefixes that stand after `after`.

        Raises:
            NotFound: there is no such bucket.
        """

        def read(path: str) -> ObjectInfo | None:
            record = object_records.read(bucket, Path(path))
            return record.info if record else None

        walk = KeyWalk(self._bucket_folder(bucket), prefix.encode())
        return page(walk, read, prefix=prefix.encode(), delimiter=delimiter.encode(), after=after.encode(), limit=limit)

    def head(self, bucket: str, key: str) -> ObjectInfo | None:
        """Give what is known of an object; None where bucket or key is not there."""
        record = self.find(bucket, key)
        return record.info if record else None

    def find(self, bucket: str, key: str) -> StoredObject | None:
        """Give the whole record of an object; None where bucket or key is not there."""
        if not self.bucket_exists(bucket) or not is_key(key):
            return None
        folder, name = self._place(bucket, key)
        return object_records.read(bucket, folder / f"{name}{RECORD_SUFFIX}")

    def open(self, bucket: str, key: str) -> tuple[StoredObject, BinaryIO] | None:
        """Give an object's record and its bytes, to be closed by the caller; None where it is not there."""
        while record := self.find(bucket, key):
            folder, _ = self._place(bucket, key)
            try:
                return record, os.fdopen(open_plain(folder / record.data_name), "rb", buffering=0)
            except FileNotFoundError:
                if self.find(bucket, key) == record:
                    raise  # the bytes were taken away; where a put came between, we read anew
        return None

    def read(self, bucket: str, key: str) -> bytes:
        """Give a small object's bytes."""
        _, file = self._opened(bucket, key)
        with file:
            return file.read()

    def fetch(self, bucket: str, key: str, to: Path, *, etag: str) -> None:
        """Copy the object that bears `etag` into the file `to`."""
        write_new(to, self.stream(bucket, key, etag=etag))

    def stream(self, bucket: str, key: str, *, etag: str, start: int = 0) -> Iterator[bytes]:
        """Give the bytes of the object that bears `etag` from `start` on, block by block."""
        opened = self.open(bucket, key)
        if opened is None:
            raise _changed(bucket, key, "is gone: it was deleted while the job ran")
        record, file = opened
        with file:
            if record.info.etag != etag:
                raise _changed(bucket, key, f"changed while the job ran: its ETag was {etag}, is {record.info.etag}")
            file.seek(start)
            while block := file.read(BLOCK_BYTES):
                yield block

    # Writing

    def put_file(self, bucket: str, key: str, path: Path, content_type: str = DEFAULT_CONTENT_TYPE) -> ObjectInfo:
        """Store a local file."""
        with path.open("rb", buffering=0) as file:
            return self._put(bucket, key, iter(lambda: file.read(BLOCK_BYTES), b""), content_type)

    def put_bytes(self, bucket: str, key: str, data: bytes, content_type: str = DEFAULT_CONTENT_TYPE) -> ObjectInfo:
        """Store `data`."""
        return self._put(bucket, key, iter((data,)), content_type)

    def draft(self) -> Draft:
        """Give an empty draft for `commit`; the caller closes it."""
        return Draft(self.drafts)

    def commit(
        self,
        draft: Draft,
        bucket: str,
        key: str,
        details: ObjectDetails,
        *,
        check: Check,
        etag: str | None = None,
        upload_id: str = "",
    ) -> StoredObject:
        """Make a draft the object; when it returns, the object is durable.

        `check` is called with the object that stands there, while no other can change it; what it raises ends the
        commit. `etag` is given where it is not the MD5 of the draft, `upload_id` where a multipart upload made it.

        Raises:
            NotFound: there is no such bucket.
            InvalidRequest: the key is no key.
        """
        if not is_key(key):
            raise InvalidRequest(where="key", found=key, problem=f"is not 1 to {MAX_KEY_BYTES} bytes of UTF-8")
        folders, name = place(key.encode())
        with self._locked(bucket, key):
            bucket_folder = self._bucket_folder(bucket)
            current = self.find(bucket, key)
            check(current)
            target = make_folders(bucket_folder, folders)
            record = StoredObject(
                info=ObjectInfo(
                    bucket=bucket,
                    key=key,
                    size_bytes=draft.size_bytes,
                    etag=etag or draft.md5().hex(),
                    modified_at=clock.now(),
                    content_type=details.content_type,
                    metadata=dict(details.metadata),
                ),
                details=details,
                data_name=f"{name}@{new_id()[:16]}",
                upload_id=upload_id,
            )
            draft.move(target / record.data_name)
            sync(target)
            self.write_whole(target / f"{name}{RECORD_SUFFIX}", object_records.written(record))
            if current:
                (target / current.data_name).unlink(missing_ok=True)
        return record

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        self.delete_if(bucket, key, check=_nothing)

    def delete_if(self, bucket: str, key: str, *, check: Check) -> None:
        """Remove an object unless `check`, called with what stands there, raises."""
        if not self.bucket_exists(bucket):
            return
        with self._locked(bucket, key):
            current = self.find(bucket, key)
            check(current)
            if current is None:
                return
            folder, name = self._place(bucket, key)
            (folder / f"{name}{RECORD_SUFFIX}").unlink()
            sync(folder)
            (folder / current.data_name).unlink(missing_ok=True)
            _prune(folder)

    def write_whole(self, path: Path, data: bytes) -> None:
        """Make a small file of the store's own whole and durable, over a former one."""
        with self.draft() as draft:
            draft.write(data)
            draft.move(path)
            sync(path.parent)

    def _put(self, bucket: str, key: str, blocks: Iterator[bytes], content_type: str) -> ObjectInfo:
        owner = self.owner_of(bucket)

        def check(_current: StoredObject | None) -> None:
            if self.owner_of(bucket) != owner:  # deleted, and made by another account, while the bytes came
                raise _no_bucket(bucket)

        with self.draft() as draft:
            for block in blocks:
                draft.write(block)
            return self.commit(draft, bucket, key, ObjectDetails(content_type=content_type), check=check).info

    def _owner_in(self, values: Mapping[str, object]) -> str:
        return str(values.get("account_id") or self.first_account)

    def _opened(self, bucket: str, key: str) -> tuple[StoredObject, BinaryIO]:
        opened = self.open(bucket, key)
        if opened is None:
            raise NotFound(f"s3://{bucket}/{key}: there is no such object")
        return opened

    def _bucket_folder(self, bucket: str) -> Path:
        if not self.bucket_exists(bucket):
            raise _no_bucket(bucket)
        return self.root / bucket

    def _place(self, bucket: str, key: str) -> tuple[Path, str]:
        folders, name = place(key.encode())
        folder = (self.root / bucket).joinpath(*folders)
        refuse_links(folder)
        return folder, name

    @contextlib.contextmanager
    def _locked(self, bucket: str, key: str = "") -> Iterator[None]:
        """Hold the bucket for a change of `key`, after clearing what a holder left that died at work."""
        if not is_bucket_name(bucket):
            raise _no_bucket(bucket)
        with locked(self._locks / bucket, key.encode()) as left:
            if left and self.bucket_exists(bucket):
                self._clear(bucket, left.decode())
            yield

    def _clear(self, bucket: str, key: str) -> None:
        folder, name = self._place(bucket, key)
        record = object_records.read(bucket, folder / f"{name}{RECORD_SUFFIX}")
        wanted = {f"{name}{RECORD_SUFFIX}", record.data_name if record else ""}
        if folder.is_dir():
            for entry in os.scandir(folder):
                if entry.name.startswith(f"{name}@") and entry.name not in wanted:
                    Path(entry.path).unlink(missing_ok=True)
            _prune(folder)


def _prune(folder: Path) -> None:
    """Remove empty folders upward; a bucket's own is never empty."""
    with contextlib.suppress(OSError):
        while True:
            folder.rmdir()
            folder = folder.parent


def _nothing(current: StoredObject | None) -> None:
    """Let every write pass."""


def _no_bucket(bucket: str) -> NotFound:
    return NotFound(f"s3://{bucket}: there is no such bucket")


def _changed(bucket: str, key: str, problem: str) -> InvalidData:
    return InvalidData(where=f"s3://{bucket}/{key}", problem=problem, fix="start the job again")
