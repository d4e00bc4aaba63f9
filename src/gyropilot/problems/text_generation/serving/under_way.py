"""The answers of one call that are being computed; model_server.py begins the rest of the call as these end.

answers of the call, in order    . . . . . . |x x x x| o o o o o o o     only x are known to the scheduler
                                    ended    under way  wait here
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from gyropilot.problems.text_generation.serving.answers import Answer, Word

MOST = 16
"""A quarter of what a scheduler computes at once, so that one large call leaves room for those of others."""


class UnderWay:
    """Iterate once: the words of all answers in turn, each with the place that was given for its answer.

    None stands for the end of an answer. Where iterating is left early the work for all of them ends.
    """

    def __init__(self, answers: Iterable[tuple[int, Answer]], *, most_tokens: int | None = None) -> None:
        """Begin the first answers.

        Args:
            answers: each with its place; taken when there is room for one.
            most_tokens: of prompts and answers under way together, one alone excepted.

        Raises:
            LimitExceeded: more work waits than is taken on.
        """
        self._waiting = iter(answers)
        self._next = next(self._waiting, None)
        self._most_tokens, self._tokens = most_tokens, 0
        self._going: deque[tuple[int, Answer, Iterator[Word]]] = deque()
        try:
            self._begin()
        except BaseException:
            self.cancel()
            raise

    def __iter__(self) -> Iterator[tuple[int, Word | None]]:
        """Give the words as they come.

        Raises:
            LimitExceeded: more work waits than is taken on.
            Unavailable: an answer was broken off.
        """
        try:
            while self._going:
                place, answer, words = self._going.popleft()
                word = next(words, None)
                if word is None:
                    self._tokens -= answer.most_tokens
                    self._begin()
                else:
                    self._going.append((place, answer, words))
                yield place, word
        finally:
            self.cancel()

    def wait(self) -> None:
        """Read all answers to their ends."""
        for _ in self:
            pass

    def cancel(self) -> None:
        """End the work for all."""
        for _, answer, _ in self._going:
            answer.cancel()

    def _begin(self) -> None:
        while self._next is not None and self._has_room(self._next[1]):
            place, answer = self._next
            answer.begin()
            self._going.append((place, answer, iter(answer)))
            self._tokens += answer.most_tokens
            self._next = next(self._waiting, None)

    def _has_room(self, answer: Answer) -> bool:
        if not self._going:
            return True
        fits = self._most_tokens is None or self._tokens + answer.most_tokens <= self._most_tokens
        return fits and len(self._going) < MOST
