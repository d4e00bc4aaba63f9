"""Where trained rows begin: at random, at sampled tokens or at a text; called by the methods of prompt tuning.

PEFT's random rows are standard normal, far longer than any embedding (on SmolLM2-135M 23.6 against 3.2), and slow to
learn. Here they are drawn with the mean and deviation that each column of the embedding has.
"""

from __future__ import annotations

from itertools import cycle, islice
from pathlib import Path
from typing import Any, cast

import torch
from tokenizers import Tokenizer

from gyropilot.errors import TrainingFailed
from gyropilot.problems.text_generation.embeddings import embedding_of
from gyropilot.problems.text_generation.templates import open_tokenizer
from gyropilot.problems.text_generation.tuning.specification import InitMethod

_SAMPLED_ROWS = 4096
"""Rows of an embedding out of which its mean and deviation are told."""


def first_rows(base: torch.nn.Module, *, count: int, method: InitMethod, text: str | None) -> torch.Tensor:
    """Give [count, width] float32 rows to begin with, drawn from torch's generator, on the base's device.

    Raises:
        TrainingFailed: the text is empty, or the base's folder has no tokenizer.
    """
    embedding = embedding_of(base).weight
    if method in ("TEXT", "SAMPLE_VOCAB"):
        ids = first_tokens(base, count=count, text=(text or "") if method == "TEXT" else None)
        return embedding[ids.to(embedding.device)].float()
    sample = embedding[:: max(1, len(embedding) // _SAMPLED_ROWS)].float()
    drawn = torch.randn(count, embedding.shape[1]).to(embedding.device)
    return sample.mean(0) + sample.std(0) * drawn


def first_tokens(base: torch.nn.Module, *, count: int, text: str | None) -> torch.Tensor:
    """Give [count] tokens: of a text with its special tokens, cut or repeated; without a text drawn at random."""
    if text is None:
        return torch.randint(0, embedding_of(base).num_embeddings, (count,))
    ids = _tokenizer(base).encode(text).ids if text else []
    if not ids:
        raise TrainingFailed("prompt_tuning_init_text has no tokens; give a text, or another prompt_tuning_init_method")
    return torch.tensor(list(islice(cycle(ids), count)))


def _tokenizer(base: torch.nn.Module) -> Tokenizer:
    return open_tokenizer(Path(str(cast(Any, base).name_or_path)) / "tokenizer.json")
