"""Folders that belong to one user."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from gyropilot.errors import InvalidRequest


def make_private_folder(folder: Path) -> None:
    """Make a folder that only its owner may enter; one that exists is closed to others.

    Raises:
        InvalidRequest: it belongs to another user.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.geteuid():
        raise InvalidRequest(
            where=str(folder), found=f"owner {status.st_uid}", problem="belongs to another user", fix="choose another"
        )
    if stat.S_IMODE(status.st_mode) & 0o077:
        folder.chmod(0o700)
