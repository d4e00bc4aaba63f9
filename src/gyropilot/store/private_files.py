"""Small files that hold secrets: read only if no other user can reach them, made once whatever starts at once."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

from gyropilot.errors import InvalidRequest
from gyropilot.files import sync
from gyropilot.store.folders import make_private_folder

_LARGEST_BYTES = 4 * 1024 * 1024


def read(path: Path) -> bytes:
    """Give the file's bytes.

    Raises:
        InvalidRequest: others than the owner may reach the file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if stat.S_IMODE(status.st_mode) & 0o077 or status.st_uid != os.geteuid():
            raise InvalidRequest(
                where=str(path),
                found=f"mode {stat.S_IMODE(status.st_mode):04o}, owner {status.st_uid}",
                problem="holds secrets and can be reached by others",
                fix=f"make it yours alone: chmod 600 {path}; if others may have read it, remove it for a fresh key",
            )
        return file.read(_LARGEST_BYTES)


def make(path: Path, data: bytes) -> None:
    """Make the file, whole and durable, unless it is there by now."""
    make_private_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        # A link, unlike a rename, takes no file away: of two that start at once the first one's stays.
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink()
    sync(path.parent)
