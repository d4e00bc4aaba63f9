"""Checks of what listens: the service's own ports, and whether another program holds the one that it would take."""

from __future__ import annotations

import contextlib
import ipaddress
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gyropilot.cli import notes, service
from gyropilot.cli.checkups.finding import Finding, fail, ok, warn
from gyropilot.settings import Settings
from gyropilot.store import home_locks, remote_objects

_PROC = Path("/proc")
_LISTENS = "0A"


@dataclass(frozen=True, kw_only=True)
class Listener:
    """A listening TCP socket."""

    address: str
    port: int
    inode: str

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        address = ipaddress.ip_address(self.address)
        mapped = getattr(address, "ipv4_mapped", None)
        return (mapped or address).is_loopback

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def check(settings: Settings) -> Iterator[Finding]:
    """Give who answers for this home and works, what its processes listen on; who holds the port if nobody answers."""
    alive = [one for one in notes.newest_first(settings) if service.answers(one["url"])]
    for note in alive:
        yield ok("service", f"answers on {note['url']}, process {note.get('pid', 'unknown')}")
        yield from _open_ports(note.get("pid"))
    if not alive:
        yield _port(settings)
    elif settings.database_url:
        yield _workers(settings)
    # The running service may have been given another by its command line.
    endpoints = {settings.s3_endpoint, *(str(one.get("s3_endpoint", "")) for one in alive)} - {""}
    yield from map(_s3_endpoint, sorted(endpoints))


def listeners() -> list[Listener]:
    """Give the machine's listening TCP sockets, as far as the system tells."""
    found = []
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (_PROC / "net" / table).read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENS:
                    place, _, port = fields[1].rpartition(":")
                    found.append(Listener(address=_address(place), port=int(port, 16), inode=fields[9]))
    return found


def holder_of(port: int) -> str:
    """Give who listens on a port, as far as it can be seen; empty if nobody does."""
    inodes = {one.inode for one in listeners() if one.port == port}
    if not inodes:
        return ""
    for process in _PROC.glob("[0-9]*"):
        if inodes & _sockets(process):
            with contextlib.suppress(OSError):
                program = (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
                return f"{program} (process {process.name})"
    return "a program of another user"


def _open_ports(pid: object) -> Iterator[Finding]:
    if not sys.platform.startswith("linux") or not isinstance(pid, int):
        return
    sockets = _sockets(_PROC / str(pid))
    found = [one for one in listeners() if one.inode in sockets]
    if not found:
        return
    open_to_all = [str(one) for one in found if not one.is_loopback]
    if open_to_all:
        yield warn(
            "ports",
            f"{', '.join(open_to_all)} can be reached from other machines",
            "listen on a loopback address: setting host",
        )
    else:
        yield ok("ports", f"{', '.join(map(str, found))}, only from this machine")


def _port(settings: Settings) -> Finding:
    holder = holder_of(settings.port)
    if holder:
        said = f"no service answers for this home, and port {settings.port} is held by {holder}"
        mend = f"end that program, or take another port: gyropilot up{service.home_option(settings)} --port N"
        return fail("service", said, mend)
    return ok("service", f"not running; port {settings.port} is free")


def _workers(settings: Settings) -> Finding:
    if home_locks.has_crew(settings.home):
        return ok("workers", "at least one takes jobs")
    mend = f"start one: gyropilot worker{service.home_option(settings)}"
    return warn("workers", "no worker runs on this home, so that jobs wait for their turn", mend)


def _s3_endpoint(url: str) -> Finding:
    if why := remote_objects.trouble(url):
        said = f"nothing answers at {url}, where jobs read and write: {why}"
        return fail("s3 endpoint", said, "start that store, or mend the setting s3_endpoint")
    return ok("s3 endpoint", f"{url} answers")


def _sockets(process: Path) -> set[str]:
    """Give the socket inodes that a process has open; empty where we may not look."""
    found = set()
    with contextlib.suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                target = str(descriptor.readlink())
                if target.startswith("socket:["):
                    found.add(target[8:-1])
    return found


def _address(place: str) -> str:
    """Read an address of /proc/net: words of four bytes, each in the machine's byte order."""
    words = (bytes.fromhex(place[start : start + 8]) for start in range(0, len(place), 8))
    data = b"".join(one[::-1] if sys.byteorder == "little" else one for one in words)
    return str(ipaddress.ip_address(data))
