"""Trained rows that stand before a text: the contract between the methods that train them and all that computes texts.

    causal            [rows | prompt | answer]
    encoder-decoder   encoder [rows | prompt]        decoder [rows | start | answer]

Their positions count: the text begins at position `before_text`. They carry no label and are no tokens of the caller's.
Attention prefixes (`key_values`) take no embedding: every block has keys and values of its own for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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


@contextmanager
def as_leaves(model: torch.nn.Module, *, task: int) -> Iterator[dict[str, torch.Tensor]]:
    """Let the virtual tokens of a task be tensors of their own meanwhile, given by name, whatever they come out of.

    Their gradients are those of the rows: what a network or a product makes of them would magnify rounding. Ways to
    compute that are made meanwhile keep them. Empty where nothing stands before texts.
    """
    tokens = of(model)
    if tokens is None:
        yield {}
        return
    leaves, holder = _leaves(tokens, task), cast(Any, model)
    holder.virtual_tokens = leaves
    try:
        yield leaves.named()
    finally:
        holder.virtual_tokens = tokens


@dataclass(frozen=True, kw_only=True)
class _Leaves:
    """The virtual tokens of one task, whichever is asked for."""

    before_text: int
    before_answer: int
    tasks: int
    text: torch.Tensor | None
    answer: torch.Tensor | None
    blocks: list[tuple[torch.Tensor, torch.Tensor]] | None

    def text_rows(self, task: int) -> torch.Tensor | None:
        return self.text

    def answer_rows(self, task: int) -> torch.Tensor | None:
        return self.answer

    def key_values(self, task: int) -> list[tuple[torch.Tensor, torch.Tensor]] | None:
        return self.blocks

    def named(self) -> dict[str, torch.Tensor]:
        found = {"text": self.text, "answer": self.answer}
        for number, (keys, values) in enumerate(self.blocks or ()):
            found |= {f"keys.{number}": keys, f"values.{number}": values}
        return {name: one for name, one in found.items() if one is not None}


def _leaves(tokens: VirtualTokens, task: int) -> _Leaves:
    def leaf(one: torch.Tensor) -> torch.Tensor:
        return one.detach().clone().requires_grad_()

    text, answer, blocks = tokens.text_rows(task), tokens.answer_rows(task), tokens.key_values(task)
    return _Leaves(
        before_text=tokens.before_text,
        before_answer=tokens.before_answer,
        tasks=tokens.tasks,
        text=None if text is None else leaf(text),
        answer=None if answer is None else leaf(answer),
        blocks=None if blocks is None else [(leaf(keys), leaf(values)) for keys, values in blocks],
    )
