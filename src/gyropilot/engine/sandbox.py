"""Finds out by trying which bounds this machine can put on a child: memory, processes, network.

`probe` is called by the engine before its first run, and by `gyropilot doctor`. Whatever holds, the engine also looks
at a run's memory ten times a second, and a child is bound in open files, the size of a file and core dumps.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gyropilot.engine import cgroups, network

Memory = Literal["cgroup v2", "cgroup v1", "data limit", "polling"]
Processes = Literal["cgroup v2", "cgroup v1", "process limit"]
Network = network.Way | Literal["shared"]

_PROBE_SECONDS = 30.0
_HAS_GPU = ("/dev/nvidiactl", "/dev/kfd", "/dev/dri/renderD128")


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """What holds a child here."""

    memory: Memory
    processes: Processes
    network: Network
    why_not: Mapping[str, str]
    """By `memory` and `network`: why nothing better holds; absent where the best does."""
    groups: cgroups.Places

    def described(self) -> dict[str, str]:
        """Give a sentence for each of memory, processes and network."""
        return {
            "memory": _MEMORY[self.memory] + self._because("memory"),
            "processes": _PROCESSES[self.processes],
            "network": _NETWORK[self.network] + self._because("network"),
        }

    def _because(self, what: str) -> str:
        return f"; {self.why_not[what]}" if what in self.why_not else ""


_MEMORY: Mapping[Memory, str] = {
    "cgroup v2": "the kernel ends a child that outgrows its memory (control group, version 2)",
    "cgroup v1": "the kernel ends a child that outgrows its memory (control group, version 1)",
    "data limit": "the kernel refuses a child's process more than its memory (RLIMIT_DATA)",
    "polling": "the service ends a child that outgrows its memory, seen within a tenth of a second",
}
_PROCESSES: Mapping[Processes, str] = {
    "cgroup v2": "the kernel caps a child's processes and threads (control group, version 2)",
    "cgroup v1": "the kernel caps a child's processes and threads (control group, version 1)",
    "process limit": "the kernel caps the user's processes and threads (RLIMIT_NPROC, not for root)",
}
_NETWORK: Mapping[Network, str] = {
    "network namespace": "a child has no network, only its own loopback (network namespace)",
    "user and network namespace": "a child has no network, only its own loopback (user and network namespace)",
    "shared": "a child could reach the network; nothing of ours does",
}


def probe() -> Sandbox:
    """Try the bounds one after the other, best first, and give what holds; takes about a tenth of a second."""
    groups = cgroups.find()
    why_not = {}
    memory: Memory
    if groups.version is not None:
        memory = "cgroup v2" if groups.version == 2 else "cgroup v1"
    else:
        why_not["memory"] = groups.why_not
        # An accelerator's driver reserves address space far beyond what it uses.
        memory = "data limit" if sys.platform == "linux" and not _has_gpu() else "polling"
    processes: Processes = "process limit"
    if groups.processes is not None:
        processes = "cgroup v2" if groups.version == 2 else "cgroup v1"
    way, reason = _network()
    if reason:
        why_not["network"] = reason
    return Sandbox(memory=memory, processes=processes, network=way, why_not=why_not, groups=groups)


def processes_of_user() -> int:
    """Give how many processes and threads this process's user has."""
    count, user = 0, os.getuid()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if process.stat().st_uid == user:
                count += sum(1 for _ in (process / "task").iterdir())
    return count


def _has_gpu() -> bool:
    return any(Path(one).exists() for one in _HAS_GPU)


def _network() -> tuple[Network, str]:
    """Give the first way that a process of its own could go, or why there is none."""
    reason = ""
    for way in network.WAYS:
        command = [sys.executable, "-P", "-m", "gyropilot.engine.sandbox", way]
        try:
            ran = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return "shared", f"the probe could not run ({error})"
        if ran.returncode == 0:
            return way, ""
        reason = ran.stderr.strip().splitlines()[-1] if ran.stderr.strip() else f"exit status {ran.returncode}"
    return "shared", f"namespaces are not allowed here ({reason})"


if __name__ == "__main__":
    network.leave(next(one for one in network.WAYS if one == sys.argv[1]))
