"""Checks of the machine: cores, memory, disk, what bounds a training process."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from gyropilot.cli import texts
from gyropilot.cli.checkups.finding import Finding, fail, ok, warn
from gyropilot.engine import sandbox
from gyropilot.local import machine
from gyropilot.settings import Settings

_LITTLE_MEMORY = 3.5 * 2**30
_LITTLE_DISK, _NO_DISK = 4 * 10**9, 5 * 10**8


def check(settings: Settings) -> Iterator[Finding]:
    """Give what there is of the machine, and how well training processes are kept in bounds."""
    yield _cores(settings)
    yield _memory(settings)
    yield _disk(settings.home)
    yield from _sandbox()


def _cores(settings: Settings) -> Finding:
    have, wanted = machine.cores(), settings.cores
    if wanted > have:
        return warn(
            "cores", f"{have} for this process, and the setting cores is {wanted}", "lower cores, or set it to 0"
        )
    return ok("cores", f"{have}" + (f", of which jobs take {wanted}" if wanted else ""))


def _memory(settings: Settings) -> Finding:
    have, wanted = machine.memory_bytes(), settings.memory_gib * 2**30
    said = f"{texts.size(have)} for this process"
    if wanted > have:
        mend = "lower memory_gib, or set it to 0"
        return warn("memory", f"{said}, and the setting memory_gib is {settings.memory_gib:g}", mend)
    if have < _LITTLE_MEMORY:
        return warn("memory", said, "4 GB do for the smallest base model; larger ones need more")
    return ok("memory", said)


def _disk(home: Path) -> Finding:
    there = next(one for one in (home, *home.parents) if one.exists())
    free = shutil.disk_usage(there).free
    said = f"{texts.size(free)} free for {home}"
    mend = "make room, or put the home elsewhere with --home or GYROPILOT_HOME"
    if free < _NO_DISK:
        return fail("disk", said, mend)
    if free < _LITTLE_DISK:
        return warn("disk", f"{said}; a job of the smallest base model takes about 2 GB", mend)
    return ok("disk", said)


def _sandbox() -> Iterator[Finding]:
    found = sandbox.probe()
    said = found.described()
    if found.memory == "polling":
        yield warn("memory bound", said["memory"], "run where control groups can be written, as under systemd")
    else:
        yield ok("memory bound", said["memory"])
    yield ok("process bound", said["processes"])
    if found.network == "shared":
        mend = "allow unprivileged user namespaces, if training processes shall have no network at all"
        yield warn("network bound", said["network"], mend)
    else:
        yield ok("network bound", said["network"])
