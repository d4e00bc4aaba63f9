"""A child at work on this machine: a thread hears what it says, holds it to its memory, and clears up after it.

Another thread carries what the child prints to the job's log.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
from collections import deque

from gyropilot import clock
from gyropilot.engine import memory, messages
from gyropilot.engine.cgroups import Group
from gyropilot.engine.engine import Ending, Message, Task
from gyropilot.engine.log_pipe import LogPipe

_LOOK_SECONDS = 0.1
_GROUP_SECONDS = 1.0
"""How often all processes of the group are summed up; that is dearer than a look at the first of them."""
_LEAVE_SECONDS = 2.0
"""How long a child may stay after its last line."""
_CLEAR_SECONDS = 5.0
_MOST_WAITING = 1000
_EVENTS_AT_ONCE, _EVENTS_PER_SECOND = 20_000, 10.0
"""How many events a run may tell of in a burst, and how fast it may go on after one: each is a row for ever."""


class LocalRun:
    """A run of `LocalProcessEngine`; `next_message` and `ending` belong to one thread, the rest to any."""

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        task: Task,
        *,
        pipe: int,
        log_pipe: int,
        lifeline: int,
        group: Group | None,
    ) -> None:
        self._child = child
        self._pipe = pipe
        self._lifeline = lifeline
        self._group = group
        self._memory_bytes = task.memory_bytes
        self._kernel_kills = memory.kernel_kills()
        self._buffer = bytearray()
        self._event_count, self._began_at = 0, clock.monotonic()
        self._heartbeat: tuple[float, float] | None = None
        """When the last one came, and the memory it told of."""
        self._said: Ending | None = None
        self._forced: Ending | None = None
        self._is_reaped = False
        self._signalling = threading.Lock()
        self._changed = threading.Condition()
        self._waiting: deque[Message] = deque()
        self._ending: Ending | None = None
        self._log = LogPipe(log_pipe, task.log)
        self._attendant = threading.Thread(target=self._attend, name=f"run {child.pid}", daemon=True)
        self._attendant.start()

    @property
    def process_id(self) -> int:
        """The child's process id, which is its group's too."""
        return self._child.pid

    def next_message(self, timeout_seconds: float) -> Message | None:
        """Give the next message; of progress and of heartbeats only the newest waits."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ending, timeout_seconds)
            message = self._waiting.popleft() if self._waiting else None
            self._changed.notify_all()
            return message

    def ending(self) -> Ending | None:
        """Give how the run ended; None while it runs or a message waits to be taken."""
        with self._changed:
            return None if self._waiting else self._ending

    def request_stop(self) -> None:
        """Ask the function to end gracefully."""
        self._order(b"stop\n")

    def request_hand_back(self) -> None:
        """Ask the function to save what a later run goes on from, and to end."""
        self._order(b"hand back\n")

    def kill(self) -> None:
        """End the child and all its processes; they are gone when this returns."""
        self._end_by_force(Ending(outcome="died", message="the run was ended by the service"))
        self._attendant.join()

    def _order(self, line: bytes) -> None:
        with self._signalling:
            if not self._is_reaped and self._child.stdin is not None:
                with contextlib.suppress(OSError):
                    self._child.stdin.write(line)

    def _attend(self) -> None:
        try:
            try:
                self._listen()
                self._clear()
                self._read_rest()
            except messages.OutOfProtocol as error:
                reason = f"the run was ended: it spoke out of protocol ({error}); the job's log may say why"
                self._said = None
                self._end_by_force(Ending(outcome="failure", error="InternalFailure", message=reason))
        finally:
            self._finish()

    def _listen(self) -> None:
        """Return when the child has ended, or has no more to say and stays too long."""
        leaves_by, looked_at, group_looked_at = float("inf"), 0.0, clock.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(self._pipe, selectors.EVENT_READ)
            while not self._has_exited() and clock.monotonic() < leaves_by:
                if not self._waited_for_room():
                    pass
                elif leaves_by < float("inf"):
                    clock.sleep(0.01)
                elif selector.select(_LOOK_SECONDS) and (not self._read() or self._said is not None):
                    leaves_by = clock.monotonic() + _LEAVE_SECONDS
                now = clock.monotonic()
                if now - group_looked_at >= _GROUP_SECONDS:
                    group_looked_at = looked_at = now
                    self._hold_to_memory(memory.of_group(self._child.pid))
                elif now - looked_at >= _LOOK_SECONDS:
                    looked_at = now
                    self._hold_to_memory(memory.of_process(self._child.pid))

    def _waited_for_room(self) -> bool:
        """Say whether the reader keeps up with the child; if not, what the child writes stays in the pipe."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._waiting) < _MOST_WAITING, _LOOK_SECONDS)

    def _read(self) -> bool:
        """Take what lies in the pipe; False at its end."""
        data = os.read(self._pipe, 65536)
        self._buffer += data
        if b"\n" in data:
            *lines, rest = self._buffer.split(b"\n")
            self._buffer = rest
            for line in lines:
                self._hear(bytes(line))
        if len(self._buffer) > messages.LARGEST_RESULT:
            raise messages.OutOfProtocol("a line is too long")
        return bool(data)

    def _hear(self, line: bytes) -> None:
        if self._said is not None:
            raise messages.OutOfProtocol("it went on after its last line")
        said = messages.decode(line)
        if isinstance(said, Ending):
            self._said = said
            return
        if said.kind == "heartbeat":
            self._heartbeat = (clock.monotonic(), said.body["memory_bytes"])
        if said.kind == "event":
            self._event_count += 1
            seconds = clock.monotonic() - self._began_at
            if self._event_count > _EVENTS_AT_ONCE + seconds * _EVENTS_PER_SECOND:
                raise messages.OutOfProtocol(f"{self._event_count} events in {seconds:.0f} s")
        self._queue(said)

    def _queue(self, message: Message) -> None:
        with self._changed:
            if message.kind != "event":
                for older in [one for one in self._waiting if one.kind == message.kind]:
                    self._waiting.remove(older)
            self._waiting.append(message)
            self._changed.notify_all()

    def _hold_to_memory(self, held_bytes: int) -> None:
        if self._group is not None:
            # What its processes share, as after a fork, the kernel counts once; we would count it for each.
            if self._group.memory_kills():
                self._end_by_force(self._killed_by_kernel())
        elif held_bytes > self._memory_bytes:
            reason = (
                f"out of memory: the run held {memory.shown(held_bytes)} and was granted "
                f"{memory.shown(self._memory_bytes)}; use a smaller base model or shorter rows, "
                "or grant jobs more memory"
            )
            self._end_by_force(Ending(outcome="died", message=reason, is_out_of_memory=True))

    def _killed_by_kernel(self) -> Ending:
        reason = (
            f"out of memory: the run needed more than the {memory.shown(self._memory_bytes)} it was granted, and the "
            "kernel ended it (control group); use a smaller base model or shorter rows, or grant jobs more memory"
        )
        return Ending(outcome="died", message=reason, is_out_of_memory=True)

    def _end_by_force(self, ending: Ending) -> None:
        with self._signalling:
            if self._said is None and self._forced is None:
                self._forced = ending
            self._signal_group()

    def _signal_group(self) -> None:
        if not self._is_reaped:  # afterwards the number may be another's
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, signal.SIGKILL)

    def _has_exited(self) -> bool:
        """Say whether the child has ended, leaving it unreaped, so that its group's number stays its own."""
        if not hasattr(os, "waitid"):
            return self._child.poll() is not None
        return os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _clear(self) -> None:
        """End what is left of the group."""
        until = clock.monotonic() + _CLEAR_SECONDS
        while True:
            with self._signalling:
                self._signal_group()
            if clock.monotonic() > until or (self._has_exited() and not memory.members(self._child.pid)):
                return
            clock.sleep(0.005)

    def _read_rest(self) -> None:
        """Take what the child wrote before its end; nobody is left to write more."""
        os.set_blocking(self._pipe, False)
        with contextlib.suppress(BlockingIOError):
            while self._read():
                pass

    def _finish(self) -> None:
        self._clear()
        with self._signalling:
            self._child.wait()
            self._is_reaped = True
            if self._child.stdin is not None:
                self._child.stdin.close()
        ending = self._forced or self._said or self._death()
        if self._group is not None:
            self._group.close()  # with whatever left the process group
        self._log.close()
        os.close(self._pipe)
        os.close(self._lifeline)
        with self._changed:
            self._ending = ending
            self._changed.notify_all()

    def _death(self) -> Ending:
        if self._group is not None and self._group.memory_kills():
            return self._killed_by_kernel()
        code = self._child.returncode
        how = f"signal {_signal_name(-code)}" if code < 0 else f"exit status {code} and no result"
        message = f"the run ended by {how}"
        if self._heartbeat is not None:
            at, held_bytes = self._heartbeat
            ago = clock.monotonic() - at
            message += f"; its last sign of life, {ago:.1f} s before, told of {memory.shown(held_bytes)} of memory"
        # A control group counts its own dead; without one, another's end at the same time is taken for ours.
        if self._group is None and code == -signal.SIGKILL and memory.kernel_kills() > self._kernel_kills:
            message = f"out of memory: the machine had none left and its kernel ended the run; {message}"
            return Ending(outcome="died", message=message, is_out_of_memory=True)
        return Ending(outcome="died", message=message)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
