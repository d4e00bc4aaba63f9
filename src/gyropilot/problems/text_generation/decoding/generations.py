"""One request's answer on its way: the scheduler's thread puts tokens in, the caller takes them out."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import Literal

from gyropilot.problems.text_generation.decoding.sampling import Token

FinishReason = Literal["stop", "length", "time", "cancelled"]


class Generation:
    """The tokens of an answer, as they come; iterate in one thread.

    Iterating raises what ended the answer early: LimitExceeded, Unavailable, ArithmeticError.
    """

    def __init__(self, cancelled: threading.Event | None = None) -> None:
        """`cancelled`, where given, ends the answer when it is set, as `cancel` does."""
        self.finish_reason: FinishReason | None = None
        """stop: by a stop token; length: at max_new_tokens; time: at max_seconds; None until the end, or failed."""
        self.prompt_tokens: Iterable[Token] = ()
        """Those of the prompt that have been read, where they were asked for: all, once there is a token."""
        self._cancelled = cancelled or threading.Event()
        self._changed = threading.Condition()
        self._tokens: deque[Token] = deque()
        self._error: Exception | None = None
        self._is_over = False

    def cancel(self) -> None:
        """End the answer after the step that is being computed; nothing happens when it has ended."""
        self._cancelled.set()

    @property
    def is_cancelled(self) -> bool:
        """Whether nobody waits for more of it."""
        return self._cancelled.is_set()

    def __iter__(self) -> Generation:
        return self

    def __next__(self) -> Token:
        with self._changed:
            self._changed.wait_for(lambda: self._tokens or self._is_over)
            if self._tokens:
                return self._tokens.popleft()
            if self._error is not None:
                raise self._error
            raise StopIteration

    def put(self, token: Token) -> None:
        """Add a token; the scheduler's."""
        with self._changed:
            self._tokens.append(token)
            self._changed.notify()

    def finish(self, reason: FinishReason) -> None:
        """End the answer; the scheduler's."""
        with self._changed:
            self.finish_reason, self._is_over = reason, True
            self._changed.notify()

    def fail(self, error: Exception) -> None:
        """End the answer by an error; the scheduler's."""
        with self._changed:
            self._error, self._is_over = error, True
            self._changed.notify()
