"""Brings the files of models to disk, under the digest that their job recorded, and removes what nobody uses.

    <home>/models/<sha256>/     a container's archive, unpacked; or the file `model`, where it is no archive
    <home>/models/.<random>/    one that is being fetched

What is fetched is read under the model's role, and must have the size and the SHA-256 that were recorded: nothing else
is ever unpacked, let alone loaded.
"""

from __future__ import annotations

import math
import shutil
import tarfile
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gyropilot import clock, names
from gyropilot.control import roles
from gyropilot.control.house import House
from gyropilot.engine import trouble
from gyropilot.errors import InvalidData, NotAllowed, NotFound, TrainingFailed, Unavailable
from gyropilot.files import sha256_of, sync
from gyropilot.store.folders import make_private_folder
from gyropilot.store.role_objects import RoleObjects

Json = Any
CheckWanted = Callable[[], None]

MOST_FILES = 100_000
"""Files that an archive may have."""
LARGEST_FACTOR = 50
"""How much larger than its archive a model may be: weights hardly shrink."""
LEAST_ROOM = 64 * 2**20
"""Bytes that any archive may unpack to."""
_LOOK_SECONDS = 0.2
_TOO_SLOW = (
    "its files were not fetched within {:g} s; give it longer by ModelDataDownloadTimeoutInSeconds of the variant, or "
    "keep the model where it is read faster"
)
_TAR_ERRORS = (tarfile.TarError, EOFError, UnicodeError, ValueError)


class ModelFiles:
    """The unpacked models of one home; safe for threads. They belong to the process that holds the lock `serve`."""

    def __init__(self, house: House) -> None:
        self._house, self._folder = house, house.settings.model_files
        self._guard = threading.Lock()
        self._fetching: dict[str, threading.Lock] = {}
        self._held: Counter[str] = Counter()

    @contextmanager
    def held(self, model: Mapping[str, Json]) -> Iterator[None]:
        """Keep the files of a model from being swept away while the block runs; they need not be there yet."""
        self.hold(model)
        try:
            yield
        finally:
            self.release(model)

    def hold(self, model: Mapping[str, Json]) -> None:
        """Keep the files of a model until `release`."""
        with self._guard:
            self._held.update(one["sha256"] for one in model["containers"])

    def release(self, model: Mapping[str, Json]) -> None:
        """Undo one `hold`."""
        with self._guard:
            self._held.subtract(one["sha256"] for one in model["containers"])

    def fetch(
        self, model: Mapping[str, Json], *, seconds: float = math.inf, check_wanted: CheckWanted | None = None
    ) -> list[tuple[Path, Mapping[str, str]]]:
        """Give the folder and the environment of each container of a model that is held; fetched where it must be.

        Args:
            model: a snapshot, which names the role that must be able to read its files, wherever they are by now.
            seconds: how long it may take altogether.
            check_wanted: called time and again; what it raises ends the fetch, and is raised.

        Raises:
            TrainingFailed: an object is gone, is not the one that was recorded, or is no archive that may be unpacked;
                or it takes too long.
            NotAllowed: the role is gone, or may not read it.
            Unavailable: the disk is full, or the object store does not answer.
        """
        until = clock.monotonic() + seconds

        def check() -> None:
            if check_wanted is not None:
                check_wanted()
            if clock.monotonic() > until:
                raise TrainingFailed(_TOO_SLOW.format(seconds))

        return [(self._folder_of(model, one, check), one["environment"]) for one in model["containers"]]

    def sweep(self, digests: Iterable[str]) -> None:
        """Remove the files of models that have none of these digests and are not held, and what fetches left."""
        kept = set(digests)
        removed = []
        with self._guard:
            kept |= {digest for digest, count in self._held.items() if count > 0}
            for one in self._folder.iterdir() if self._folder.is_dir() else ():
                if one.name not in kept and not one.name.startswith("."):
                    # Under another name first: what a killed service left half removed must not pass for a model.
                    removed.append(one.rename(self._folder / f".{names.new_id()[:8]}"))
        for one in removed:
            shutil.rmtree(one, ignore_errors=True)

    def clear_partial(self) -> None:
        """Remove what fetches of a killed service left; called before the first fetch."""
        for one in self._folder.glob(".*"):
            shutil.rmtree(one, ignore_errors=True)

    def _folder_of(self, model: Mapping[str, Json], container: Mapping[str, Json], check: CheckWanted) -> Path:
        digest = str(container["sha256"])
        # Files that another model of the same bytes brought here are no way around the role.
        objects = roles.objects_of_job(self._house, model["role_arn"])
        objects.check_read(*names.split_s3_uri(container["uri"]))
        with self._guard:
            lock = self._fetching.setdefault(digest, threading.Lock())
        folder = self._folder / digest
        while not lock.acquire(timeout=_LOOK_SECONDS):
            check()
        try:
            if not folder.is_dir():
                self._place(objects, container, folder, check)
        finally:
            lock.release()
        return folder

    def _place(self, objects: RoleObjects, container: Mapping[str, Json], folder: Path, check: CheckWanted) -> None:
        make_private_folder(self._folder)
        partial = self._folder / f".{names.new_id()[:8]}"
        try:
            partial.mkdir(mode=0o700)
            archive, unpacked = partial / "fetched", partial / "unpacked"
            _fetch(objects, container, archive, check)
            unpacked.mkdir(mode=0o700)
            _unpack(archive, unpacked, container["uri"])
            _sync_all(unpacked)
            unpacked.rename(folder)
            sync(self._folder)
        except Exception as error:
            if isinstance(error, InvalidData | NotFound):
                raise TrainingFailed(str(error)) from error
            if not isinstance(error, NotAllowed | TrainingFailed | Unavailable) and trouble.may_pass(error):
                raise Unavailable(f"{container['uri']} could not be fetched: {trouble.told(error)}") from error
            raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _fetch(objects: RoleObjects, container: Mapping[str, Json], to: Path, check: CheckWanted) -> None:
    uri, size, digest = container["uri"], container["size_bytes"], container["sha256"]
    bucket, key = names.split_s3_uri(uri)
    found = objects.head(bucket, key)
    if found is None:
        raise TrainingFailed(f"{uri} is not there any more; put the model back, or train it anew")
    if found.size_bytes != size:
        raise _changed(uri, f"it has {found.size_bytes} bytes, and its job recorded {size}")
    with to.open("xb") as file:
        for block in objects.stream(bucket, key, etag=found.etag):
            file.write(block)
            check()
    if (read := sha256_of(to)) != digest:
        raise _changed(uri, f"its SHA-256 is {read}, and its job recorded {digest}")


def _changed(uri: str, how: str) -> TrainingFailed:
    return TrainingFailed(
        f"{uri} is not the model that its job recorded: {how}; it is not loaded. Put the model back, or train it anew"
    )


def _unpack(archive: Path, to: Path, uri: str) -> None:
    """Unpack a tar archive, of regular files alone; what is none becomes the file `model`."""
    if not _is_tar(archive):
        archive.rename(to / "model")
        return
    room = max(LEAST_ROOM, LARGEST_FACTOR * archive.stat().st_size)
    files = 0
    try:
        with tarfile.open(archive, "r:*") as members:
            for member in members:
                files += 1
                room -= max(0, member.size)
                if files > MOST_FILES or room < 0:
                    raise _refused(uri, f"it unpacks to more than {MOST_FILES} files, or to too many bytes")
                _unpack_member(members, member, to, uri)
    except _TAR_ERRORS as error:
        raise _refused(uri, f"it is no whole archive ({error})") from error


def _is_tar(path: Path) -> bool:
    try:
        with tarfile.open(path, "r:*") as members:
            return members.next() is not None
    except _TAR_ERRORS:
        return False


def _unpack_member(members: tarfile.TarFile, member: tarfile.TarInfo, to: Path, uri: str) -> None:
    inside = Path(member.name)
    if inside.is_absolute() or ".." in inside.parts or "\0" in member.name:
        raise _refused(uri, f"{member.name!r} would lie outside the model's folder")
    place = to / inside
    if member.isdir():
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        return
    if not member.isreg():
        raise _refused(uri, f"{member.name!r} is neither a file nor a folder")
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    source = members.extractfile(member)
    if source is None or place.is_dir():
        raise _refused(uri, f"{member.name!r} cannot be unpacked")
    with source, place.open("wb") as file:
        shutil.copyfileobj(source, file, 2**20)


def _refused(uri: str, why: str) -> TrainingFailed:
    return TrainingFailed(f"{uri} is no model archive that is unpacked here: {why}")


def _sync_all(folder: Path) -> None:
    for one in folder.rglob("*"):
        sync(one)
    sync(folder)
