"""Folders for what one call has on disk, in the home, where there is room for models."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

from gyropilot.settings import Settings


def working_folder(settings: Settings, held: ExitStack) -> Path:
    """Give a new folder that is removed when `held` is closed, or with this process."""
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Path(held.enter_context(tempfile.TemporaryDirectory(prefix=".tune-", dir=settings.home)))
