"""Memory of a process group, as the kernel counts it; for engines that hold a run to its limit.

Counted is what only a kill would give back: anonymous and shared memory. Pages of mapped files (weights, token caches)
are left out, since the kernel drops them when memory is short.
"""

from __future__ import annotations

from pathlib import Path

_PROC = Path("/proc")


def of_process(process_id: int) -> int:
    """Give the bytes a process holds; 0 where the kernel does not tell."""
    try:
        lines = (_PROC / str(process_id) / "status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon:", "RssShmem:")))


def of_group(group_id: int) -> int:
    """Give the bytes all processes of a group hold; 0 where the kernel does not tell."""
    return sum(of_process(one) for one in members(group_id))


def members(group_id: int) -> list[int]:
    """Give the living processes of a group; empty where the kernel does not tell."""
    return [int(one.name) for one in _PROC.glob("[0-9]*") if _group_of(one) == group_id]


def kernel_kills() -> int:
    """Give how many processes the kernel has killed for want of memory since it started."""
    try:
        lines = (_PROC / "vmstat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))


def shown(size_bytes: float) -> str:
    """Give a size for people."""
    gib = size_bytes / 2**30
    return f"{gib:.1f} GiB" if gib >= 1 else f"{size_bytes / 2**20:.0f} MiB"


def _group_of(process: Path) -> int | None:
    try:
        stat = (process / "stat").read_bytes()
    except OSError:
        return None
    # The second field, the program's name in brackets, may hold anything; after its bracket: state, parent, group.
    state, _parent, group = stat[stat.rindex(b")") + 1 :].split()[:3]
    return None if state in {b"Z", b"X"} else int(group)
