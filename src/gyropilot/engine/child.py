"""What runs in a child: `python -m gyropilot.engine.child <task.json>` calls one function and speaks of it up a pipe.

The task file is written by an engine, in the child's scratch:

    version (of the service that wrote it), function, arguments, allowed_prefixes, cores, memory_bytes,
    heartbeat_seconds,
    messages (descriptor to write lines to), lifeline (descriptor that ends when the parent does),
    limits (file_bytes, perhaps data_bytes and processes), network (how to leave it; null: not at all)

Standard input carries `stop` and `hand back`; its end, like the lifeline's, means that the parent died, and ends this
process and all it started at once. Nothing here imports a problem, or a library beside the standard one.
"""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import importlib
import json
import math
import os
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from gyropilot import clock, errors
from gyropilot.engine import memory, messages, network, trouble
from gyropilot.engine.versions import VERSION

Json = Any
_PROGRESS_SECONDS = 0.2
_OPEN_FILES = 8192


class Orders:
    """What the parent has asked for."""

    def __init__(self) -> None:
        self.stop, self.hand_back = threading.Event(), threading.Event()

    def hear(self, line: bytes) -> None:
        """Take one line; others than the known mean nothing."""
        known = {b"stop\n": self.stop, b"hand back\n": self.hand_back}
        if line in known:
            known[line].set()


class PipeReporter:
    """The Reporter of problems/contract.py that writes to the parent; safe for threads."""

    def __init__(self, descriptor: int, orders: Orders) -> None:
        self._descriptor = descriptor
        self._orders = orders
        self._writing = threading.Lock()
        self._waiting: bytes | None = None
        self._phase = ""
        self._sent_at = -math.inf
        self._has_finished = False

    def progress(
        self, phase: str, *, done: float, total: float, unit: str, values: Mapping[str, float] | None = None
    ) -> None:
        """Say how far `phase` is; of calls in quick succession the last one counts."""
        numbers = {str(name)[:64]: float(value) for name, value in (values or {}).items()}
        body = {
            "phase": messages.shortened(phase, 64),
            "done": messages.finite(float(done)) or 0.0,
            "total": messages.finite(float(total)) or 0.0,
            "unit": messages.shortened(unit, 64),
            "values": {name: value for name, value in numbers.items() if math.isfinite(value)},
        }
        line = messages.encode("progress", body)
        with self._writing:
            self._waiting = line
            if phase != self._phase or clock.monotonic() - self._sent_at >= _PROGRESS_SECONDS:
                self._phase = phase
                self._send_waiting()

    def event(self, kind: str, message: str, *, detail: Mapping[str, Json] | None = None) -> None:
        """Record something worth keeping; a detail that is no JSON or too large is left out, saying so."""
        body = {"kind": messages.shortened(kind, 64), "message": messages.shortened(message, 4096)}
        try:
            line = messages.encode("event", body | {"detail": messages.finite(dict(detail or {}))})
        except (ValueError, RecursionError) as error:
            line = messages.encode("event", body | {"detail": {"left_out": messages.shortened(str(error), 200)}})
        with self._writing:
            self._send_waiting()
            self._write(line)

    def stop_requested(self) -> bool:
        """Say whether the job is to end gracefully."""
        return self._orders.stop.is_set()

    def hand_back_requested(self) -> bool:
        """Say whether the service goes down: save what a later run goes on from, and end."""
        return self._orders.hand_back.is_set()

    def heartbeat(self) -> None:
        """Say that this process lives, and what it uses; send progress that waited."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        body = {"memory_bytes": memory.of_process(os.getpid()), "cpu_seconds": used.ru_utime + used.ru_stime}
        with self._writing:
            self._send_waiting()
            self._write(messages.encode("heartbeat", body))

    def finish(self, line: bytes) -> None:
        """Write the last line, after progress that waited; what other threads still say is dropped."""
        with self._writing:
            self._send_waiting()
            self._write(line)
            self._has_finished = True

    def _send_waiting(self) -> None:
        if self._waiting is not None:
            self._write(self._waiting)
            self._waiting, self._sent_at = None, clock.monotonic()

    def _write(self, line: bytes) -> None:
        view = memoryview(b"" if self._has_finished else line)
        while view:
            view = view[os.write(self._descriptor, view) :]


def main(task_path: str) -> NoReturn:
    """Run the task of that file and end the process."""
    faulthandler.enable()
    task = json.loads(Path(task_path).read_bytes())
    _limit(task["limits"])
    if task["network"] is not None:
        network.leave(task["network"])
    orders = Orders()
    _end_with_parent(task["lifeline"], orders)
    os.set_inheritable(task["messages"], False)  # noqa: FBT003 - positional only in the library
    reporter = PipeReporter(task["messages"], orders)
    reporter.heartbeat()
    _start_thread("heartbeat", lambda: _beat(reporter, task["heartbeat_seconds"]))
    last = _outcome(task, reporter)
    with contextlib.suppress(OSError):
        reporter.finish(last)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    # The interpreter's own way out would wait for, or crash in, threads that libraries left behind.
    os._exit(0)


def _limit(limits: Mapping[str, int]) -> None:
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_NOFILE, _OPEN_FILES)
    _lower(resource.RLIMIT_FSIZE, limits["file_bytes"])
    if "data_bytes" in limits:
        _lower(resource.RLIMIT_DATA, limits["data_bytes"])
    if "processes" in limits:
        _lower(resource.RLIMIT_NPROC, limits["processes"])
    # If memory runs out, the kernel should take this process, not the service.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")


def _lower(kind: int, wanted: int) -> None:
    _, most = resource.getrlimit(kind)
    value = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    resource.setrlimit(kind, (value, value))


def _end_with_parent(lifeline: int, orders: Orders) -> None:
    lines = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    _start_thread("orders", lambda: _follow(lines, orders))
    os.set_inheritable(lifeline, False)  # noqa: FBT003 - positional only in the library
    if sys.platform == "linux":
        # The kernel sends SIGIO, which ends a process by default, to the whole group when the parent's end closes: this
        # holds even while a library keeps the interpreter's lock and no thread of ours can run.
        signal.signal(signal.SIGIO, signal.SIG_DFL)
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def _follow(descriptor: int, orders: Orders) -> None:
    with os.fdopen(descriptor, "rb") as lines:
        for line in lines:
            orders.hear(line)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _beat(reporter: PipeReporter, seconds: float) -> None:
    with contextlib.suppress(OSError):
        while True:
            clock.sleep(seconds)
            reporter.heartbeat()


def _outcome(task: Mapping[str, Json], reporter: PipeReporter) -> bytes:
    try:
        _check_version(str(task.get("version", "an older one")))
        function = _resolved(task["function"], tuple(task["allowed_prefixes"]))
        return messages.encode("result", function(task["arguments"], reporter))
    except BaseException as error:
        if reporter.hand_back_requested():
            sys.stderr.write(f"ended to be handed back ({type(error).__name__})\n")
        else:
            traceback.print_exc()
        return messages.encode("failure", _failure(error, task["memory_bytes"]))


def _check_version(of_service: str) -> None:
    if of_service != VERSION:
        raise errors.Unavailable(
            f"gyropilot {VERSION} was installed while the service of version {of_service} runs; restart the service"
        )


def _resolved(name: str, allowed_prefixes: tuple[str, ...]) -> Callable[[Json, PipeReporter], Json]:
    if not name.startswith(allowed_prefixes):
        raise errors.NotAllowed(f"{name} is not a function that may run in a child")
    module, _, function = name.partition(":")
    found: Callable[[Json, PipeReporter], Json] = getattr(importlib.import_module(module), function)
    return found


def _failure(error: BaseException, memory_bytes: int) -> dict[str, Json]:
    if _is_want_of_memory(error):
        message = (
            f"ran out of memory ({messages.shortened(str(error) or 'no detail', 300)}); the task was granted "
            f"{memory.shown(memory_bytes)}; use a smaller base model or shorter rows, or grant jobs more memory"
        )
        return {"error": "TrainingFailed", "message": message, "is_out_of_memory": True}
    if isinstance(error, errors.GyropilotError):
        message = messages.shortened(str(error), messages.LONGEST_REASON)
        return {"error": _family_name(error), "message": message, "is_out_of_memory": False}
    if trouble.may_pass(error):
        message = messages.shortened(trouble.told(error), messages.LONGEST_REASON)
        return {"error": "Unavailable", "message": message, "is_out_of_memory": False}
    message = f"an unexpected {type(error).__name__} ended the run; the job's log has the whole of it"
    return {"error": "InternalFailure", "message": messages.shortened(message, 300), "is_out_of_memory": False}


def _family_name(error: errors.GyropilotError) -> str:
    return next(one.__name__ for one in type(error).__mro__ if one.__module__ == errors.__name__)


def _is_want_of_memory(error: BaseException) -> bool:
    # torch: torch.OutOfMemoryError on an accelerator, a RuntimeError with these words on CPU.
    is_of_torch = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and is_of_torch)


def _start_thread(name: str, run: Callable[[], None]) -> None:
    threading.Thread(target=run, name=name, daemon=True).start()


if __name__ == "__main__":
    main(sys.argv[1])
