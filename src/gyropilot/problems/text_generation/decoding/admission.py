"""Which of the requests that wait are begun: those that memory and places have room for; called by the scheduler.

waiting   [large][small][small] ...     in turn, and smaller ones past one that is too large for now
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from gyropilot.errors import LimitExceeded
from gyropilot.problems.text_generation.decoding.decoder import Decoder
from gyropilot.problems.text_generation.decoding.memory import Memory
from gyropilot.problems.text_generation.decoding.requests import Request

_MOST_WAITING = 1024
_MOST_OVERTAKEN = 64
"""How many smaller requests may go before one that there is no room for yet."""
_LOOKED_AT = 32
"""How far behind it they may stand."""


class Admission:
    """The requests that wait, and the memory of those that run; guarded by its scheduler's lock."""

    def __init__(self, memory: Memory, decoder: Decoder) -> None:
        self._memory, self._decoder = memory, decoder
        self.waiting: deque[Request] = deque()

    def check(self) -> None:
        """Raise LimitExceeded where no more may wait."""
        if len(self.waiting) >= _MOST_WAITING:
            raise LimitExceeded(f"{_MOST_WAITING} requests wait already; try again later")

    def end_over(self) -> None:
        """End those whose time is over, and those that nobody waits for."""
        kept: deque[Request] = deque()
        for request in self.waiting:
            reason = request.over
            if reason is None:
                kept.append(request)
            else:
                request.generation.finish(reason)
        self.waiting = kept

    def take_in(self, running: list[Request], *, capacity: int) -> None:
        """Move those that there is room for to `running`, of which there may be `capacity`."""
        waiting = self.waiting
        while waiting and self._has_room(waiting[0], running, capacity):
            running.append(waiting.popleft())
        if not waiting:
            self._memory.want_no_more(self)
            return
        first = waiting[0]
        for request in list(waiting)[1:_LOOKED_AT]:
            if first.overtaken >= _MOST_OVERTAKEN or len(running) >= capacity:
                return
            if 2 * request.tokens_needed <= first.tokens_needed and self._has_room(request, running, capacity):
                waiting.remove(request)
                running.append(request)
                first.overtaken += 1

    def hold(self, running: Sequence[Request]) -> None:
        """Hold the memory of those that run and of nothing else."""
        self._memory.hold_texts(self, self._bytes_of(running))

    def let_go(self) -> None:
        """Give all memory back."""
        self._memory.let_go(self)

    def _has_room(self, request: Request, running: Sequence[Request], capacity: int) -> bool:
        return len(running) < capacity and self._memory.hold_texts(self, self._bytes_of([*running, request]))

    def _bytes_of(self, requests: Sequence[Request]) -> int:
        return self._decoder.tokens_kept([one.tokens_needed for one in requests]) * self._decoder.token_bytes
