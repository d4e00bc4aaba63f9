"""Takes the network away from the process that calls: a network namespace of its own, with a loopback and no more.

Called by a child before it starts any thread. Linux alone has such namespaces; a process that is not root needs a user
namespace as well, which some systems forbid.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import sys
from pathlib import Path
from typing import Literal

Way = Literal["network namespace", "user and network namespace"]
WAYS: tuple[Way, ...] = ("network namespace", "user and network namespace")

_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
_GET_FLAGS, _SET_FLAGS, _IS_UP = 0x8913, 0x8914, 0x1
_CAPABILITY_VERSION_3 = 0x20080522


def leave(way: Way) -> None:
    """Leave the machine's network for good; also all that this process starts is without it.

    Raises:
        OSError: this system does not allow it. A process left half-way must end.
    """
    if sys.platform != "linux":
        raise OSError("only Linux has network namespaces")
    if way == "network namespace":
        _unshare(_NEW_NETWORK)
        _start_loopback()
        return
    user, group = os.getuid(), os.getgid()
    _unshare(_NEW_USER | _NEW_NETWORK)
    for file, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        Path("/proc/self", file).write_text(text, encoding="ascii")
    _start_loopback()
    # In its own namespace the process may do all that root may; it needs none of it.
    _drop_capabilities()


def _unshare(flags: int) -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(ctypes.c_int(flags)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"unshare: {os.strerror(number)}")


def _start_loopback() -> None:
    """Bring up `lo`: libraries that share work between processes of one machine speak over it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(any_socket, _GET_FLAGS, asked))[1]
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh14x", b"lo", flags | _IS_UP))


def _drop_capabilities() -> None:
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    if ctypes.CDLL(None, use_errno=True).capset(header, bytes(24)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"capset: {os.strerror(number)}")
