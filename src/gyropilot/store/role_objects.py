"""Objects as a role may use them: jobs read and write through this and nothing else.

A role without an endpoint of its own works on the service's store, of which it sees its account's buckets alone.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

from gyropilot.errors import NotAllowed, NotFound
from gyropilot.names import is_under
from gyropilot.store.folder_objects import FolderObjects
from gyropilot.store.object_info import DEFAULT_CONTENT_TYPE, ObjectInfo
from gyropilot.store.objects import Objects
from gyropilot.store.remote_objects import RemoteObjects
from gyropilot.store.roles import Role
from gyropilot.store.seals import Seal


class RoleObjects:
    """A store behind a role's prefixes; an implementation of `Objects`.

    Buckets of other accounts are as if missing. What lies outside the prefixes is not listed; any other use of it
    raises NotAllowed.
    """

    def __init__(self, inner: Objects, role: Role) -> None:
        self._inner, self._role = inner, role

    def bucket_exists(self, bucket: str) -> bool:
        """Say whether the bucket is there."""
        return self._is_visible(bucket) and self._inner.bucket_exists(bucket)

    def list(self, bucket: str, prefix: str) -> Iterator[ObjectInfo]:
        """Give the objects whose keys begin with `prefix` and that the role may read."""
        self._check_visible(bucket)
        for info in self._inner.list(bucket, prefix):
            if _is_covered(info.uri, self._role.read_prefixes):
                yield info

    def head(self, bucket: str, key: str) -> ObjectInfo | None:
        """Give what is known of an object; None where bucket or key is not there."""
        self._check(bucket, key, "read", self._role.read_prefixes)
        return self._inner.head(bucket, key) if self._is_visible(bucket) else None

    def check_read(self, bucket: str, key: str) -> None:
        """Raise NotAllowed where the role may not read an object, whether or not it is there."""
        self._check(bucket, key, "read", self._role.read_prefixes)

    def fetch(self, bucket: str, key: str, to: Path, *, etag: str) -> None:
        """Copy the object that bears `etag` into the file `to`."""
        self._check(bucket, key, "read", self._role.read_prefixes)
        self._check_visible(bucket)
        self._inner.fetch(bucket, key, to, etag=etag)

    def stream(self, bucket: str, key: str, *, etag: str, start: int = 0) -> Iterator[bytes]:
        """Give the bytes of the object that bears `etag` from `start` on, block by block."""
        self._check(bucket, key, "read", self._role.read_prefixes)
        self._check_visible(bucket)
        return self._inner.stream(bucket, key, etag=etag, start=start)

    def read(self, bucket: str, key: str) -> bytes:
        """Give a small object's bytes."""
        self._check(bucket, key, "read", self._role.read_prefixes)
        self._check_visible(bucket)
        return self._inner.read(bucket, key)

    def put_file(self, bucket: str, key: str, path: Path, content_type: str = DEFAULT_CONTENT_TYPE) -> ObjectInfo:
        """Store a local file."""
        self._check(bucket, key, "write", self._role.write_prefixes)
        self._check_visible(bucket)
        return self._inner.put_file(bucket, key, path, content_type)

    def put_bytes(self, bucket: str, key: str, data: bytes, content_type: str = DEFAULT_CONTENT_TYPE) -> ObjectInfo:
        """Store `data`."""
        self._check(bucket, key, "write", self._role.write_prefixes)
        self._check_visible(bucket)
        return self._inner.put_bytes(bucket, key, data, content_type)

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        self._check(bucket, key, "write", self._role.write_prefixes)
        if self._is_visible(bucket):
            self._inner.delete(bucket, key)

    def _is_visible(self, bucket: str) -> bool:
        return not isinstance(self._inner, FolderObjects) or self._inner.owner_of(bucket) == self._role.account_id

    def _check_visible(self, bucket: str) -> None:
        if not self._is_visible(bucket):
            raise NotFound(f"s3://{bucket}: there is no such bucket")

    def _check(self, bucket: str, key: str, verb: str, prefixes: tuple[str, ...]) -> None:
        uri = f"s3://{bucket}/{key}"
        if not _is_covered(uri, prefixes):
            raise NotAllowed(
                f"RoleArn: the role {self._role.arn} may not {verb} {uri}, only {', '.join(prefixes) or 'nothing'}; "
                "widen it (`gyropilot roles add --replace`), or start the job with another place or role"
            )


class RoleStores:
    """Gives each role the store it works on; connections to external ones are kept. Safe for threads."""

    def __init__(self, default: Objects, seal: Seal) -> None:
        self._default, self._seal = default, seal
        self._lock = threading.Lock()
        self._external: dict[str, tuple[tuple[str, str, str], RemoteObjects]] = {}

    def of(self, role: Role) -> RoleObjects:
        """Give the objects that the role may use.

        Raises:
            SealBroken: the secret of the role's external store does not open.
        """
        return RoleObjects(self._external_store(role) if role.s3_endpoint else self._default, role)

    def _external_store(self, role: Role) -> RemoteObjects:
        wanted = (role.s3_endpoint, role.s3_region, role.sealed_s3_keys or "")
        with self._lock:
            kept = self._external.get(role.arn)
            if kept is None or kept[0] != wanted:
                key, _, secret = self._seal.unseal(wanted[2], row=row_name(role.arn)).partition("\n")
                store = RemoteObjects(endpoint_url=role.s3_endpoint, region=role.s3_region, key=key, secret=secret)
                self._external[role.arn] = kept = (wanted, store)
            return kept[1]


def sealed_keys(seal: Seal, arn: str, access_key_id: str, secret: str) -> str:
    """Give the keys of a role's external store as the role's row holds them."""
    return seal.seal(f"{access_key_id}\n{secret}", row=row_name(arn))


def row_name(arn: str) -> str:
    """Give the name of a role's row, to which its sealed keys are bound."""
    return f"roles/{arn}"


def _is_covered(uri: str, prefixes: tuple[str, ...]) -> bool:
    return any(is_under(uri, prefix) for prefix in prefixes)
