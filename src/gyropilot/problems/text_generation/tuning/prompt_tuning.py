"""Prompt tuning: rows of embeddings before the text are all that is trained (Lester et al., 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from peft import PromptEmbedding, PromptTuningConfig

from gyropilot.problems.text_generation.models import DtypeName, LoadedModel
from gyropilot.problems.text_generation.tuning import prompted
from gyropilot.problems.text_generation.tuning.prompt_start import first_rows
from gyropilot.problems.text_generation.tuning.prompted import Prompted
from gyropilot.problems.text_generation.tuning.specification import InitMethod, OutputModelType


@dataclass(frozen=True, kw_only=True)
class PromptTuning:
    """Prompt tuning's settings."""

    num_virtual_tokens: int
    """On each side."""
    init_method: InitMethod = "RANDOM"
    """RANDOM, TEXT or SAMPLE_VOCAB."""
    init_text: str | None = None
    output_model_types: tuple[OutputModelType, ...] = ()
    """Sides of an encoder-decoder model; a causal model has one. Empty: the encoder."""
    name: str = "PROMPT_TUNING"

    @property
    def saves_adapter(self) -> bool:
        """Give true."""
        return True

    @property
    def merges(self) -> bool:
        """Give false: rows are no change of weights."""
        return False

    def base_dtype(self, fastest: DtypeName) -> DtypeName:
        """Give `fastest`: the base is only read."""
        return fastest

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
        prompted.save_prompt(whole, folder, self._config(whole.base), {"prompt_embeddings": rows})

    def merge(self, tuned: torch.nn.Module, *, dtype: DtypeName) -> torch.nn.Module:
        """Raise: rows cannot be merged into weights."""
        raise NotImplementedError(self.name)

    def _config(self, base: torch.nn.Module) -> PromptTuningConfig:
        return PromptTuningConfig(
            task_type=prompted.task_type(base),
            num_virtual_tokens=self.num_virtual_tokens,
            token_dim=prompted.width_of(base),
            num_transformer_submodules=len(prompted.sides_of(base, self.output_model_types)),
            prompt_tuning_init="RANDOM",
        )
