"""The audit log: one JSON line a call that changes something, also where it was refused; appended to, never read here.

{"time": "...", "principal": "GYRO...", "account": "000000000000", "action": "sagemaker:CreateAutoMLJobV2",
 "resource": "my-job", "result": "OK", "request_id": "..."}
"""

from __future__ import annotations

import errno
import json
import os
from dataclasses import dataclass
from pathlib import Path

from gyropilot import clock
from gyropilot.errors import Unavailable
from gyropilot.store.principals import Principal

_LONGEST_RESOURCE = 512


@dataclass(frozen=True, kw_only=True)
class AuditLine:
    """Who did what to which resource, and what came of it."""

    principal: Principal
    action: str
    resource: str
    result: str
    """OK, or the code of the error."""
    request_id: str


def append(path: Path, line: AuditLine) -> None:
    """Append the line, by one write, so that lines of several processes do not mix.

    The file is opened anew each time: it may be renamed away by whoever rotates logs.

    Raises:
        Unavailable: the line could not be written whole.
    """
    told = {
        "time": clock.now().isoformat(),
        "principal": line.principal.access_key_id,
        "account": line.principal.account_id,
        "action": line.action,
        "resource": line.resource[:_LONGEST_RESOURCE],
        "result": line.result,
        "request_id": line.request_id,
    }
    # ASCII: whatever a caller sent, control and direction marks among it, stands as an escape.
    data = json.dumps(told, ensure_ascii=True).encode() + b"\n"
    try:
        _write(path, data)
    except OSError as error:
        is_full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        why = "the home's disk is full" if is_full else (error.strerror or "a fault of the home's disk")
        raise Unavailable(f"The audit log cannot be written: {why}; try again when that is mended.") from error


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if os.write(descriptor, data) != len(data):  # a regular file takes less than it is given when its disk is full
            raise OSError(errno.ENOSPC, f"{path}: an audit line was cut short")
    finally:
        os.close(descriptor)
