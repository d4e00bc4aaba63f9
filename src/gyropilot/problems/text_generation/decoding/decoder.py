"""What computes the next tokens of many rows together: the contract between the scheduler and the ways to compute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from gyropilot.problems.text_generation.decoding.virtual_tokens import TokensBefore


class LoadedAdapter(Protocol):
    """An adapter in memory, as a decoder uses it."""

    @property
    def size_bytes(self) -> int:
        """Give the memory its tensors take."""

    @property
    def before(self) -> TokensBefore:
        """Give the virtual tokens that stand before its texts."""


class Row(Protocol):
    """One text that a decoder keeps keys and values of."""


@dataclass(frozen=True)
class Read:
    """Tokens that a row reads next."""

    row: Row
    tokens: Sequence[int]
    hear: Callable[[torch.Tensor], None] | None = None
    """Is told the logits behind each of the tokens in order, [some, vocabulary] float32 at a time; None: nobody asks.

    Of a model with an encoder nobody does.
    """


class Decoder(Protocol):
    """A model in memory and the rows it computes; all but `read_adapter` called by one thread."""

    name: str
    """The way it computes, as plain."""
    vocabulary: int
    """Logits a row."""
    model_tokens: int | None
    """Most tokens of prompt and answer together, as the model's configuration says; None: it says nothing."""
    token_bytes: int
    """Memory for the keys and values of one token."""
    weight_bytes: int
    """Memory of the base's weights."""
    reads_in_parts: bool
    """Whether a prompt may be read part by part; else it comes whole."""

    def read_adapter(self, folder: Path, *, task: int) -> LoadedAdapter:
        """Load one task of an adapter folder; raises TrainingFailed where it does not fit the model."""

    def tokens_kept(self, lengths: Sequence[int]) -> int:
        """Give the tokens that memory must hold when texts of these lengths are computed together."""

    def text_before(self, prompt: Sequence[int]) -> Sequence[int]:
        """Give the tokens that an answer continues, which a repetition penalty counts: prompt or start token."""

    def begin(self, prompt: Sequence[int], adapter: LoadedAdapter | None) -> Row:
        """Give the row of a new text, which has a token for each row that the adapter has before it; computes nothing.

        Which tokens those are means nothing.
        """

    def compute(self, reads: Sequence[Read]) -> torch.Tensor:
        """Read tokens and give [reads, vocabulary] float32 on the CPU: what each row would say next.

        Every row that has read its whole prompt and has not ended is among the reads, with one token.
        """

    def end(self, row: Row) -> None:
        """Let go of a row."""

    def reset(self) -> None:
        """Let go of all rows, whatever state a failed `compute` left them in."""
