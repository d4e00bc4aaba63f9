"""What a model's first block reads: embedded tokens, trained rows among them; called by generation and decoding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch

from gyropilot.problems.text_generation.models import unwrapped


def embedding_of(model: torch.nn.Module) -> torch.nn.Embedding:
    """Give the layer that maps tokens to what the first block reads, of both sides where there are two."""
    return cast(torch.nn.Embedding, unwrapped(model).get_input_embeddings())  # type: ignore[operator]


def with_rows(
    embedding: torch.nn.Embedding, tokens: torch.Tensor, rows: Sequence[tuple[int, int, torch.Tensor]]
) -> torch.Tensor:
    """Give [texts, tokens, width], on the embedding's device and in its precision, `rows` in the place of tokens.

    Args:
        embedding: of the model.
        tokens: [texts, tokens]; those that rows replace may be any.
        rows: each a text, the place of the first token that is replaced, and [replaced, width].
    """
    weight = embedding.weight
    found = cast(torch.Tensor, embedding(tokens.to(weight.device)))
    for text, place, part in rows:
        found[text, place : place + len(part)] = part.to(weight.device, weight.dtype)
    return found
