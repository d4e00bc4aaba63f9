"""Checks of what endpoints need: a home that sockets fit into, memory for a replica."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator

from gyropilot.cli import texts
from gyropilot.cli.checkups.finding import Finding, fail, ok, warn
from gyropilot.errors import InvalidRequest
from gyropilot.local import machine
from gyropilot.serve.replicas.process import check_socket_length
from gyropilot.settings import Settings


def check(settings: Settings) -> Iterator[Finding]:
    """Give whether replicas of endpoints could run here."""
    yield _sockets(settings)
    yield _memory(settings)


def _sockets(settings: Settings) -> Finding:
    folder = settings.replicas
    try:
        check_socket_length(folder / ("0" * 8))
    except InvalidRequest as error:
        (fault,) = error.faults
        return fail("sockets", f"{fault.found} {fault.problem}; no endpoint can come into service", fault.fix)
    try:
        status = folder.lstat()
    except OSError:
        return ok("sockets", f"their paths fit, {folder} is made when the service starts")
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        said = f"{folder}, where replicas of endpoints answer, can be reached by others"
        return fail("sockets", said, f"stop the service, then: rm -r {shlex.quote(str(folder))}")
    return ok("sockets", f"their paths fit, {folder} is yours alone")


def _memory(settings: Settings) -> Finding:
    have, granted = machine.memory_bytes(), machine.replica_memory_bytes(settings)
    said = f"each of an endpoint may hold {texts.size(granted)}"
    if granted > have:
        return warn("replicas", f"{said}, which this machine has not", "lower replica_memory_gib, or set it to 0")
    return ok("replicas", said)
