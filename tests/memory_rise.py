"""How much memory a piece of work in this process takes at its peak; for the children of tests of bad files."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pyarrow


class MemoryRise:
    """Watches memory from when it is made."""

    def __init__(self):
        ctypes.CDLL(None).malloc_trim(0)  # what earlier cases left would hide what this one takes
        pyarrow.default_memory_pool().release_unused()
        self._held = _memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew

    def bytes(self):
        """Give by how many bytes memory rose at its peak."""
        return _memory("VmHWM") - self._held


def _memory(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))
