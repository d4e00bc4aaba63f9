"""Counts the GPUs of this machine without a driver; asked before a job exists, with and without a service."""

from __future__ import annotations

import re
from pathlib import Path

from gyropilot.settings import Settings

_NVIDIA = re.compile(r"nvidia[0-9]+")
_OTHER_GPUS = ("kfd", "dxg")
"""Device files of GPUs that torch calls cuda too, and that cannot be counted by their files: ROCm, Windows."""


def cuda_devices(settings: Settings, devices: Path = Path("/dev")) -> int | None:
    """Count the GPUs of this machine without asking a driver; None where jobs may run on another, or none can tell."""
    if settings.database_url or any((devices / name).exists() for name in _OTHER_GPUS):
        return None  # with a database of its own the workers may be anywhere
    return sum(1 for path in devices.glob("nvidia*") if _NVIDIA.fullmatch(path.name))
