"""The engine of one machine: each run is a child process with a scratch folder, a log and a clean environment.

The child is `child.py`. It is taken for hostile: what it says is checked, what it may hold is bounded, and whatever it
has started in its process group ends with it. It ends with this process too, however this one ends.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from gyropilot import settings
from gyropilot.engine import cgroups, sandbox, trouble
from gyropilot.engine.cgroups import Group
from gyropilot.engine.engine import Json, Task
from gyropilot.engine.local_run import LocalRun
from gyropilot.engine.versions import VERSION
from gyropilot.errors import LimitExceeded, NotAllowed

logger = logging.getLogger(__name__)

_MOST_PROCESSES = 1024
"""Processes and threads of one run, and 64 more for each of its cores: libraries start some for each."""
_STACK_BYTES = 512 * 2**20
"""What a limit on data leaves for the stacks of threads, which count as data though most of each stays untouched."""
_LEAST_FILE_BYTES = 2**30
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
    chosen_sandbox: sandbox.Sandbox | None = None
    """What holds children; None: found by trying, before the first run."""

    def start(self, task: Task) -> LocalRun:
        """Start a run; the caller has counted cores and memory.

        Raises:
            NotAllowed: the function is none that a child may run.
            LimitExceeded: the machine cannot start this interpreter.
            OSError: the machine has no room for it just now.
        """
        if not _FUNCTION.fullmatch(task.function) or not task.function.startswith(self.allowed_prefixes):
            raise NotAllowed(f"{task.function} is not a function that may run in a child")
        temporary = task.scratch / "tmp"
        for folder in (task.scratch, temporary):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as childs:
            read_end, write_end = _pipe(ours, childs)
            log_read_end, log_write_end = _pipe(ours, childs)
            lifeline_childs, lifeline_ours = _pipe(childs, ours)
            group = self._group(task, ours)
            task_file = task.scratch / "task.json"
            _write_owner_only(task_file, self._described(task, messages=write_end, lifeline=lifeline_childs))
            child = _started(
                [task.python, "-P", "-X", "utf8", "-m", "gyropilot.engine.child", str(task_file.absolute())],
                task=task,
                environment=self._environment(temporary),
                output=log_write_end,
                descriptors=(write_end, lifeline_childs),
            )
            ours.pop_all()
        group = _with(group, child.pid)
        return LocalRun(child, task, pipe=read_end, log_pipe=log_read_end, lifeline=lifeline_ours, group=group)

    def confinement(self) -> Mapping[str, str]:
        """Give what holds a run's memory, processes and network here, in words."""
        return self._sandbox.described()

    def clear_leftovers(self) -> None:
        """Remove the control groups that a killed service left."""
        cgroups.clear_leftovers(self._sandbox.groups)

    @cached_property
    def _sandbox(self) -> sandbox.Sandbox:
        return self.chosen_sandbox or sandbox.probe()

    def _group(self, task: Task, ours: contextlib.ExitStack) -> Group | None:
        if self._sandbox.groups.version is None:
            return None
        try:
            group = Group(self._sandbox.groups)
            ours.callback(group.close)
            group.limit(memory_bytes=task.memory_bytes, processes=_processes(task))
        except OSError:
            logger.exception("no control group for a run; its memory is held by looking at it alone")
            return None
        return group

    def _described(self, task: Task, *, messages: int, lifeline: int) -> dict[str, Json]:
        return {
            "version": VERSION,
            "function": task.function,
            "arguments": dict(task.arguments),
            "allowed_prefixes": list(self.allowed_prefixes),
            "cores": task.cores,
            "memory_bytes": task.memory_bytes,
            "heartbeat_seconds": self.heartbeat_seconds,
            "messages": messages,
            "lifeline": lifeline,
            "limits": self._limits(task),
            "network": None if self._sandbox.network == "shared" else self._sandbox.network,
        }

    def _limits(self, task: Task) -> dict[str, int]:
        limits = {"file_bytes": max(_LEAST_FILE_BYTES, shutil.disk_usage(task.scratch).free)}
        if self._sandbox.memory == "data limit":
            limits["data_bytes"] = task.memory_bytes + _STACK_BYTES
        if self._sandbox.processes == "process limit":
            limits["processes"] = sandbox.processes_of_user() + _processes(task)
        return limits

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
    command: Sequence[str], *, task: Task, environment: Mapping[str, str], output: int, descriptors: tuple[int, ...]
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            bufsize=0,
            cwd=task.scratch,
            env=dict(environment),
            start_new_session=True,
            pass_fds=descriptors,
        )
    except OSError as error:
        if trouble.may_pass(error):
            raise
        raise LimitExceeded(f"cannot start a child process with {task.python}: {error}") from error


def _with(group: Group | None, process_id: int) -> Group | None:
    """Put the process into the group and give that; None where it cannot be."""
    if group is None:
        return None
    try:
        group.add(process_id)
    except OSError:
        logger.exception("a run is in no control group; its memory is held by looking at it alone")
        group.close()
        return None
    return group


def _processes(task: Task) -> int:
    return _MOST_PROCESSES + 64 * task.cores
