"""Walks the folders of a bucket in the order of its keys, and pages through them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from gyropilot.store.object_files import refuse_links
from gyropilot.store.object_info import Listing, ObjectInfo
from gyropilot.store.object_names import RECORD_SUFFIX, place, read_name, stem_of_folder


class _Entry(NamedTuple):
    stem: bytes  # the key of a record, or what all keys of a folder begin with
    path: str
    is_record: bool


class KeyWalk:
    """The keys that begin with `prefix`, in byte order, each with its record's path.

    Only folders that may hold such a key are read; `skip_to` leaves out keys, also while walking.
    """

    def __init__(self, bucket_folder: Path, prefix: bytes) -> None:
        self._prefix = prefix
        self._lower = b""
        stem = prefix[: prefix.rfind(b"/") + 1]
        folders = place(stem)[0] if stem else ()
        start = bucket_folder.joinpath(*folders)
        refuse_links(start)
        self._stack = [_entries(str(start), stem)]

    def skip_to(self, lower: bytes) -> None:
        """Leave out every key before `lower`."""
        self._lower = max(self._lower, lower)

    def __iter__(self) -> Iterator[tuple[bytes, str]]:
        while self._stack:
            entry = next(self._stack[-1], None)
            if entry is None:
                self._stack.pop()
            elif entry.is_record:
                if entry.stem >= self._lower and entry.stem.startswith(self._prefix):
                    yield entry.stem, entry.path
            elif self._may_hold(entry.stem):
                self._stack.append(_entries(entry.path, entry.stem))

    def _may_hold(self, stem: bytes) -> bool:
        is_under = stem.startswith(self._prefix) or self._prefix.startswith(stem)
        return is_under and stem >= self._lower[: len(stem)]


def page(
    walk: KeyWalk,
    read: Callable[[str], ObjectInfo | None],
    *,
    prefix: bytes,
    delimiter: bytes,
    after: bytes,
    limit: int,
) -> Listing:
    """Give the next `limit` objects and common prefixes of a walk, those that stand after `after` alone."""
    objects: list[ObjectInfo] = []
    common: list[str] = []
    last = ""
    if after:
        walk.skip_to(after + b"\0")
    for key, path in walk:
        group = _common_prefix(key, prefix, delimiter)
        if group and group <= after:
            walk.skip_to(_past(group))
            continue
        info = None if group else read(path)
        if not group and info is None:
            continue  # deleted while we walk
        if len(objects) + len(common) == limit:
            return Listing(objects=tuple(objects), common_prefixes=tuple(common), next_after=last)
        if info is not None:
            objects.append(info)
            last = info.key
        else:
            last = group.decode()
            common.append(last)
            walk.skip_to(_past(group))
    return Listing(objects=tuple(objects), common_prefixes=tuple(common), next_after=None)


def _common_prefix(key: bytes, prefix: bytes, delimiter: bytes) -> bytes:
    if not delimiter:
        return b""
    at = key.find(delimiter, len(prefix))
    return key[: at + len(delimiter)] if at >= 0 else b""


def _past(prefix: bytes) -> bytes:
    return prefix + b"\xff"  # no UTF-8 text holds this byte: it stands after every key that begins with the prefix


def _entries(folder: str, stem: bytes) -> Iterator[_Entry]:
    """Give what lies in a folder in the order of the keys it stands for; nothing where the folder is not there.

    No two entries interleave: all keys below `a/` lie between the keys `a/` and `a0`.
    """
    found: list[_Entry] = []
    try:
        with os.scandir(folder) as entries:
            for one in entries:
                name = one.name
                if not name.isascii():
                    continue  # put there by hand: no key's place
                if name.endswith(RECORD_SUFFIX) and len(name) > len(RECORD_SUFFIX):
                    stem_of_record = stem + read_name(name[: -len(RECORD_SUFFIX)])
                    found.append(_Entry(stem_of_record, one.path, is_record=True))
                elif "@" not in name and one.is_dir(follow_symlinks=False):
                    found.append(_Entry(stem + stem_of_folder(name), one.path, is_record=False))
    except (FileNotFoundError, NotADirectoryError):
        return iter(())
    return iter(sorted(found))
