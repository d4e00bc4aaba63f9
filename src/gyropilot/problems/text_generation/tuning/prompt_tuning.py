"""Prompt tuning: rows of embeddings before the text are all that is trained (Lester et al., 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from peft import PromptEmbedding, PromptTuningConfig

from gyropilot.problems.text_generation.models import LoadedModel
from gyropilot.problems.text_generation.tuning import prompted
from gyropilot.problems.text_generation.tuning.prompt_start import first_rows
from gyropilot.problems.text_generation.tuning.prompted import Prompted, Unmerged
from gyropilot.problems.text_generation.tuning.specification import InitMethod, OutputModelType


@dataclass(frozen=True, kw_only=True)
class PromptTuning(Unmerged):
    """Prompt tuning's settings."""

    num_virtual_tokens: int
    """On each side."""
    init_method: InitMethod = "RANDOM"
    """RANDOM, TEXT or SAMPLE_VOCAB."""
    init_text: str | None = None
    output_model_types: tuple[OutputModelType, ...] = ()
    """Sides of an encoder-decoder model; a causal model has one. Empty: the encoder."""
    name: str = "PROMPT_TUNING"

    def attach(self, loaded: LoadedModel, *, seed: int) -> torch.nn.Module:
        """Give the base with rows before its texts; same seed, same rows."""
        torch.manual_seed(seed)
        base = loaded.model
        embedding = PromptEmbedding(self._config(base), base)
        rows = embedding.embedding.weight
        rows.data = first_rows(base, count=len(rows), method=self.init_method, text=self.init_text)
        sides = prompted.sides_of(base, self.output_model_types)
        tokens = prompted.rows_on(base, sides, self.num_virtual_tokens, lambda task: embedding.embedding.weight)
        return Prompted(base, embedding, tokens)

    def save(self, tuned: torch.nn.Module, folder: Path) -> None:
        """Write a PEFT adapter folder and the rows as they are served."""
        whole = cast(Prompted, tuned)
        rows = cast(PromptEmbedding, whole.prompt).embedding.weight
        prompted.save(whole, folder, self._config(whole.base), {"prompt_embeddings": rows})

    def _config(self, base: torch.nn.Module) -> PromptTuningConfig:
        sides = prompted.sides_of(base, self.output_model_types)
        return PromptTuningConfig(
            **prompted.config_fields(base, count=self.num_virtual_tokens, sides=sides),
            prompt_tuning_init="RANDOM",
        )
