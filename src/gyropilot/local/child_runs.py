"""Runs one function of a problem in a child, as the worker of a service does, and waits for its end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gyropilot.engine.engine import Ending, Message, Run, Task
from gyropilot.engine.local_process import LocalProcessEngine
from gyropilot.errors import TrainingFailed
from gyropilot.local import machine
from gyropilot.settings import Settings

Json = Any
Tell = Callable[[Message], None]
_MESSAGE_SECONDS = 0.25
_TOLD_LOG_CHARACTERS = 4000


def run(function: str, arguments: Mapping[str, Json], settings: Settings, scratch: Path, *, tell: Tell) -> Json:
    """Give what the function returned; the first Ctrl-C asks it to end early and keep what it has, the next ends it.

    Args:
        function: `package.module:function`, within the problems.
        arguments: What it is called with.
        settings: Cores and memory for jobs are what the child may use.
        scratch: Its working folder.
        tell: Takes progress, events and heartbeats.

    Raises:
        TrainingFailed: with the message of what the function raised; where it broke or its process died, what it
            printed stands on standard error.
    """
    log = bytearray()
    engine = LocalProcessEngine(
        cores=settings.cores or machine.cores(), memory_bytes=machine.job_memory_bytes(settings)
    )
    task = Task(
        function=function,
        arguments=arguments,
        scratch=scratch,
        log=log.extend,
        cores=engine.cores,
        memory_bytes=engine.memory_bytes,
        python=sys.executable,
    )
    child = engine.start(task)
    try:
        ending = _followed(child, tell)
    except BaseException:
        child.kill()
        raise
    if ending.outcome == "result":
        return ending.result
    if ending.outcome == "died" or ending.error == "InternalFailure":
        say(log.decode(errors="replace")[-_TOLD_LOG_CHARACTERS:])
    # Of every kind: what is shown of an error is its text.
    raise TrainingFailed(ending.message)


def _followed(child: Run, tell: Tell) -> Ending:
    is_asked = False
    while True:
        try:
            ending = child.ending()
            if ending is not None:
                return ending
            message = child.next_message(_MESSAGE_SECONDS)
            if message is not None:
                tell(message)
        except KeyboardInterrupt:
            if is_asked:
                raise
            is_asked = True
            child.request_stop()
            say("\nending early with what there is; Ctrl-C again ends at once")


def say(text: str) -> None:
    """Write a line to standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
