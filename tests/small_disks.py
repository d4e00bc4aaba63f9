"""Small file systems of their own, to be filled and freed: a real mount, where this machine lets us make one."""

from __future__ import annotations

import contextlib
import errno
import functools
import subprocess
import tempfile
from pathlib import Path

import pytest


class SmallDisk:
    """A mounted file system of a few mebibytes."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self._ballast = self.folder / "ballast"

    def fill(self):
        """Leave no room at all."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (2**20, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(b"\0" * size)

    def is_full(self):
        try:
            (self.folder / "probe").write_bytes(b"\0" * 4096)
        except OSError as error:
            return error.errno == errno.ENOSPC
        (self.folder / "probe").unlink()
        return False

    def free(self):
        self._ballast.unlink()


@contextlib.contextmanager
def mounted(folder, *, mib):
    """A file system of that size at `folder`; the test is skipped where none can be mounted."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    if why := _why_not():
        pytest.skip(f"no file system can be mounted here: {why}")
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0700", "small", folder], check=True)
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@functools.cache
def _why_not():
    with tempfile.TemporaryDirectory() as folder:
        try:
            ran = subprocess.run(["mount", "-t", "tmpfs", "small", folder], capture_output=True, text=True, check=False)
        except OSError as error:
            return str(error)
        if ran.returncode:
            return ran.stderr.strip()
        subprocess.run(["umount", folder], check=True)
        return ""
