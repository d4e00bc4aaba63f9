"""One request of a scheduler, from its arrival to its end; made by scheduler.py, begun by admission.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gyropilot import clock
from gyropilot.problems.text_generation.decoding.decoder import LoadedAdapter, Read, Row
from gyropilot.problems.text_generation.decoding.generations import Generation
from gyropilot.problems.text_generation.decoding.prompt_tokens import PromptTokens
from gyropilot.problems.text_generation.decoding.sampling import Chooser, Sampling


@dataclass(eq=False)
class Request:
    """A request and how far it has come."""

    generation: Generation
    prompt: Sequence[int]
    """With a token of no meaning for each of `rows_before`."""
    rows_before: int
    """Virtual tokens that are read before the caller's."""
    sampling: Sampling
    adapter: LoadedAdapter | None
    tokens_needed: int
    """Of prompt and answer together, virtual ones among them."""
    ends_at: float | None
    """When time is over for it, on the monotonic clock."""
    overtaken: int = 0
    begun: Begun | None = None
    """What computing it needs; None: it waits."""
    read: int = 0
    """Tokens of the prompt that have been read."""
    chosen: int = 0
    last: int = 0
    """The token that is read next."""

    @property
    def left(self) -> int:
        """Tokens of the prompt that have not been read."""
        return len(self.prompt) - self.read

    @property
    def over(self) -> Literal["time", "cancelled"] | None:
        """What ends it before its next token; None: nothing does."""
        if self.generation.is_cancelled:
            return "cancelled"
        return "time" if self.ends_at is not None and clock.monotonic() >= self.ends_at else None

    @property
    def computed(self) -> Begun:
        """What computing it needs, once it has begun."""
        assert self.begun is not None
        return self.begun

    def step(self) -> Read:
        """Give the reading of its last token."""
        return Read(self.computed.row, [self.last])

    def part(self, size: int) -> Read:
        """Give the reading of the next `size` tokens of its prompt."""
        told = self.computed.prompt_tokens
        return Read(
            self.computed.row, self.prompt[self.read : self.read + size], hear=None if told is None else told.hear
        )


@dataclass(frozen=True)
class Begun:
    """A row of the decoder, and what choosing and telling its tokens remembers."""

    row: Row
    chooser: Chooser
    prompt_tokens: PromptTokens | None
    """None: nothing is told of the prompt."""
