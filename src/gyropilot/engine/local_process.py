"""The engine of one machine: each run is a child process with a scratch folder, a log and a clean environment.

The child is `child.py`. It is taken for hostile: what it says is checked, what it may hold is bounded, and whatever it
has started in its process group ends with it. It ends with this process too, however this one ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gyropilot import settings
from gyropilot.engine.engine import Json, Task
from gyropilot.engine.local_run import LocalRun
from gyropilot.errors import LimitExceeded, NotAllowed

_FUNCTION = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class LocalProcessEngine:
    """Starts children on this machine."""

    cores: int
    memory_bytes: int
    allowed_prefixes: tuple[str, ...] = ("gyropilot.problems.",)
    """What a task's function must begin with."""
    python_path: tuple[Path, ...] = ()
    """Folders a child imports from beside its interpreter's own."""
    heartbeat_seconds: float = 1.0

    def start(self, task: Task) -> LocalRun:
        """Start a run; the caller has counted cores and memory.

        Raises:
            NotAllowed: the function is none that a child may run.
            LimitExceeded: the machine cannot start another process, or not this interpreter.
        """
        if not _FUNCTION.fullmatch(task.function) or not task.function.startswith(self.allowed_prefixes):
            raise NotAllowed(f"{task.function} is not a function that may run in a child")
        temporary = task.scratch / "tmp"
        for folder in (task.scratch, temporary, task.log.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as childs:
            read_end, write_end = _pipe(ours, childs)
            lifeline_childs, lifeline_ours = os.pipe()
            childs.callback(os.close, lifeline_childs)
            ours.callback(os.close, lifeline_ours)
            task_file = task.scratch / "task.json"
            _write_owner_only(task_file, self._described(task, messages=write_end, lifeline=lifeline_childs))
            child = _started(
                [task.python, "-P", "-X", "utf8", "-m", "gyropilot.engine.child", str(task_file.absolute())],
                task=task,
                environment=self._environment(temporary),
                descriptors=(write_end, lifeline_childs),
            )
            ours.pop_all()
        return LocalRun(child, pipe=read_end, lifeline=lifeline_ours, memory_bytes=task.memory_bytes)

    def _described(self, task: Task, *, messages: int, lifeline: int) -> dict[str, Json]:
        return {
            "function": task.function,
            "arguments": dict(task.arguments),
            "allowed_prefixes": list(self.allowed_prefixes),
            "cores": task.cores,
            "memory_bytes": task.memory_bytes,
            "heartbeat_seconds": self.heartbeat_seconds,
            "messages": messages,
            "lifeline": lifeline,
        }

    def _environment(self, temporary: Path) -> dict[str, str]:
        fixed = {
            "TMPDIR": str(temporary.absolute()),
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "PYTHONHASHSEED": "0",
            "PYTHONUNBUFFERED": "1",
        }
        if self.python_path:
            fixed["PYTHONPATH"] = os.pathsep.join(str(one.absolute()) for one in self.python_path)
        return settings.passed_on() | fixed


def _pipe(reader: contextlib.ExitStack, writer: contextlib.ExitStack) -> tuple[int, int]:
    read_end, write_end = os.pipe()
    reader.callback(os.close, read_end)
    writer.callback(os.close, write_end)
    return read_end, write_end


def _write_owner_only(path: Path, value: Mapping[str, Json]) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(value, file)


def _started(
    command: Sequence[str], *, task: Task, environment: Mapping[str, str], descriptors: tuple[int, ...]
) -> subprocess.Popen[bytes]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(task.log, flags, 0o600), "ab") as log:
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                bufsize=0,
                cwd=task.scratch,
                env=dict(environment),
                start_new_session=True,
                pass_fds=descriptors,
            )
        except OSError as error:
            raise LimitExceeded(f"cannot start a child process with {task.python}: {error}") from error
