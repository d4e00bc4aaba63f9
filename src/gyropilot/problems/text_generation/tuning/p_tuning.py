"""P-tuning: rows before the text come out of a small trained network (Liu et al., 2021); it is not needed to serve."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from peft import PromptEncoder, PromptEncoderConfig

from gyropilot.problems.text_generation.models import LoadedModel
from gyropilot.problems.text_generation.tuning import prompted
from gyropilot.problems.text_generation.tuning.prompted import Prompted, Unmerged
from gyropilot.problems.text_generation.tuning.specification import OutputModelType


@dataclass(frozen=True, kw_only=True)
class PTuning(Unmerged):
    """P-tuning's settings: an MLP of the embedding's width, as PEFT has it."""

    num_virtual_tokens: int
    """On each side."""
    output_model_types: tuple[OutputModelType, ...] = ()
    """Sides of an encoder-decoder model; a causal model has one. Empty: the encoder."""
    name: str = "P_TUNING"

    def attach(self, loaded: LoadedModel, *, seed: int) -> torch.nn.Module:
        """Give the base with rows before its texts; same seed, same network."""
        torch.manual_seed(seed)
        base = loaded.model
        encoder = PromptEncoder(self._config(base)).to(next(base.parameters()).device)
        indices = torch.arange(len(encoder.embedding.weight), device=encoder.embedding.weight.device)
        sides = prompted.sides_of(base, self.output_model_types)
        tokens = prompted.rows_on(base, sides, self.num_virtual_tokens, lambda task: encoder(indices))
        return Prompted(base, encoder, tokens)

    def save(self, tuned: torch.nn.Module, folder: Path) -> None:
        """Write a PEFT adapter folder and the rows as they are served: what the network gives, not the network."""
        whole = cast(Prompted, tuned)
        rows = torch.cat(list(prompted.effective(whole, 0).values()))
        prompted.save(whole, folder, self._config(whole.base), {"prompt_embeddings": rows})

    def _config(self, base: torch.nn.Module) -> PromptEncoderConfig:
        sides = prompted.sides_of(base, self.output_model_types)
        fields = prompted.config_fields(base, count=self.num_virtual_tokens, sides=sides)
        return PromptEncoderConfig(**fields, encoder_hidden_size=fields["token_dim"])
