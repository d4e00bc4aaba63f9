"""SHA-256 of model data that lies elsewhere than a job wrote it: read once, one object of an account at a time."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from gyropilot.errors import Throttled
from gyropilot.store.object_info import ObjectInfo
from gyropilot.store.role_objects import RoleObjects
from gyropilot.store.roles import Role

MOST_REMEMBERED = 4096

_Version = tuple[str, str, str, str]
"""A role, the endpoint of its store, an object's URI and its ETag."""


class ModelDigests:
    """The digests that a process has read; usable from any thread. Nothing is copied to be read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reading: set[str] = set()
        self._known: OrderedDict[_Version, str] = OrderedDict()

    def of(self, account_id: str, role: Role, objects: RoleObjects, info: ObjectInfo) -> str:
        """Give the digest of the version of an object that `info` tells of.

        Raises:
            Throttled: an object of this account is read just now.
            InvalidData: the object is gone or changed.
            NotAllowed: the role may not read it.
        """
        version = (role.arn, role.s3_endpoint, info.uri, info.etag)
        with self._lock:
            if version in self._known:
                self._known.move_to_end(version)
                return self._known[version]
        with self._turn(account_id):
            digest = hashlib.sha256()
            for block in objects.stream(info.bucket, info.key, etag=info.etag):
                digest.update(block)
        with self._lock:
            self._known[version] = digest.hexdigest()
            while len(self._known) > MOST_REMEMBERED:
                self._known.popitem(last=False)
        return digest.hexdigest()

    @contextmanager
    def _turn(self, account_id: str) -> Iterator[None]:
        with self._lock:
            if account_id in self._reading:
                raise Throttled(
                    "Rate exceeded: another copy of model data of this account is being read to be recognised, one at "
                    "a time is. Call again when that call is answered, or name model data where a job wrote it, which "
                    "need not be read."
                )
            self._reading.add(account_id)
        try:
            yield
        finally:
            with self._lock:
                self._reading.discard(account_id)
