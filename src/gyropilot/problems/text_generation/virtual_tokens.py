"""Trained rows that stand before a text: the contract between the methods that train them and all that computes texts.

    causal            [rows | prompt | answer]
    encoder-decoder   encoder [rows | prompt]        decoder [rows | start | answer]

Their positions count: the text begins at position `before_text`. They carry no label and are no tokens of the caller's.
Attention prefixes (`key_values`) take no embedding: every block has keys and values of its own for them.
"""

from __future__ import annotations

from typing import Any, Protocol, cast

import torch

TRAINED = "prompt."
"""With this begin the names of the parameters out of which virtual tokens come."""


class VirtualTokens(Protocol):
    """What stands before texts; rows are differentiable while they are trained, and float32."""

    @property
    def before_text(self) -> int:
        """Give the virtual tokens before the text of a causal model, or before what the encoder reads."""

    @property
    def before_answer(self) -> int:
        """Give the virtual tokens before the start token of a decoder; 0 for causal models."""

    @property
    def tasks(self) -> int:
        """Give how many tasks there are, each with rows of its own; 1 but while a source is trained."""

    def text_rows(self, task: int) -> torch.Tensor | None:
        """Give [before_text, width]; None where there are none, or where they are `key_values`."""

    def answer_rows(self, task: int) -> torch.Tensor | None:
        """Give [before_answer, width]; None where there are none."""

    def key_values(self, task: int) -> list[tuple[torch.Tensor, torch.Tensor]] | None:
        """Give a (keys, values) of each block, [key heads, before_text, head width], positions already in the keys.

        None where the virtual tokens are rows of embeddings.
        """


def of(model: torch.nn.Module) -> VirtualTokens | None:
    """Give what stands before the texts of a tuned model; None: nothing does."""
    return cast(VirtualTokens | None, cast(Any, getattr(model, "virtual_tokens", None)))


def count_of(model: torch.nn.Module) -> int:
    """Give how many virtual tokens stand before each text, on both sides together."""
    tokens = of(model)
    return tokens.before_text + tokens.before_answer if tokens else 0
