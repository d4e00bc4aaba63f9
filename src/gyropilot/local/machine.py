"""What of this machine the process may use: cores and memory."""

from __future__ import annotations

import os
from pathlib import Path

from gyropilot.settings import Settings

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


def cores() -> int:
    """Give how many CPU cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int:
    """Give the machine's memory, or what this process's container may use where that is less."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = cgroup_limit_bytes(_CGROUPS, _OWN_CGROUP)
    return whole if limit is None else min(whole, limit)


def job_memory_bytes(settings: Settings) -> int:
    """Give the memory that jobs may use together."""
    return int(settings.memory_gib * 2**30) or int(memory_bytes() * 0.8)


def replica_memory_bytes(settings: Settings) -> int:
    """Give the memory that one replica process may use."""
    return int(settings.replica_memory_gib * 2**30) or job_memory_bytes(settings) // 2


def cgroup_limit_bytes(cgroups: Path, own: Path) -> int | None:
    """Give the smallest memory limit of a process's control groups; None where there is none or it cannot be read.

    Args:
        cgroups: where control groups are mounted, as /sys/fs/cgroup.
        own: names the process's groups, as /proc/self/cgroup: "0::/a/b" (version 2), "4:memory:/a/b" (version 1).
    """
    limits = [limit for file in _limit_files(cgroups, own) if (limit := _limit(file)) is not None]
    return min(limits, default=None)


def _limit_files(cgroups: Path, own: Path) -> list[Path]:
    files = [cgroups / "memory.max", cgroups / "memory" / "memory.limit_in_bytes"]
    try:
        lines = own.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return files
    for line in lines:
        _, controllers, group = line.split(":", 2)
        inside = Path(group.lstrip("/"))
        chain = [one for one in (inside, *inside.parents) if ".." not in one.parts]
        if controllers == "":
            files += [cgroups / one / "memory.max" for one in chain]
        elif "memory" in controllers.split(","):
            files += [cgroups / "memory" / one / "memory.limit_in_bytes" for one in chain]
    return files


def _limit(file: Path) -> int | None:
    try:
        text = file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None  # "max" is no limit
