"""Notes that processes leave in the home about where they answer calls; `gyropilot env` and the like read them.

<home>/services/<random>.json, one for each process that answers. Its process removes it; a killed one's is left behind,
so a reader asks whether anyone answers, and the next process that starts here clears it away.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gyropilot import clock, names
from gyropilot.settings import Settings

Json = Any


@contextmanager
def noted(settings: Settings) -> Iterator[None]:
    """Leave a note of this process's address while the block runs."""
    settings.addresses.mkdir(mode=0o700, exist_ok=True)
    _clear_dead(settings)
    path = settings.addresses / f"{names.new_id()}.json"
    _write(path, _note(settings))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def newest_first(settings: Settings) -> list[Mapping[str, Json]]:
    """Give the notes of this home; whoever wrote one may be gone."""
    found = [note for path in settings.addresses.glob("*.json") if (note := _read(path)) is not None]
    return sorted(found, key=lambda note: str(note["started_at"]), reverse=True)


def is_running(note: Mapping[str, Json]) -> bool:
    """Say whether the process that wrote the note runs on this machine."""
    return _is_of_here(note) and _is_alive(note.get("pid"))


def _note(settings: Settings) -> dict[str, Json]:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return {
        "url": f"http://{host}:{settings.port}",
        "machine": socket.gethostname(),
        "pid": os.getpid(),
        "region": settings.region,
        "account_id": settings.account_id,
        "role_arn": names.role_arn(settings.account_id, names.DEFAULT_ROLE_NAME),
        "s3_endpoint": settings.s3_endpoint,
        "started_at": clock.now().isoformat(),
    }


def _write(path: Path, note: Mapping[str, Json]) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(note, file)
    Path(temporary).replace(path)


def _read(path: Path) -> dict[str, Json] | None:
    """Give a note; None where its process took it away, or where it is none."""
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return note if isinstance(note, dict) and {"url", "account_id", "started_at"} <= note.keys() else None


def _clear_dead(settings: Settings) -> None:
    for path in settings.addresses.glob("*.json"):
        note = _read(path)
        if note is not None and _is_of_here(note) and not _is_alive(note.get("pid")):
            path.unlink(missing_ok=True)


def _is_of_here(note: Mapping[str, Json]) -> bool:
    return note.get("machine") == socket.gethostname()


def _is_alive(pid: Json) -> bool:
    if not isinstance(pid, int) or pid <= 0:
        return False
    with contextlib.suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except (ProcessLookupError, OverflowError):
            return False
    return True
