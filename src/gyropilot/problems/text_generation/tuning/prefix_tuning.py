"""Prefix tuning: keys and values before the text, of every block its own, are trained (Li and Liang, 2021).

They begin as those that the base itself has for some tokens, of a text or sampled: PEFT's standard normal ones have
nothing to do with a block's keys, and disturb it for long.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from peft import PrefixEncoder, PrefixTuningConfig
from transformers import DynamicCache

from gyropilot.errors import TrainingFailed
from gyropilot.problems.text_generation import models
from gyropilot.problems.text_generation.models import LoadedModel
from gyropilot.problems.text_generation.tuning import prompted
from gyropilot.problems.text_generation.tuning.prompt_start import first_tokens
from gyropilot.problems.text_generation.tuning.prompted import Prompted, Unmerged

KeyValues = list[tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True, kw_only=True)
class PrefixKeyValues:
    """Keys and values out of one trained table, as VirtualTokens."""

    encoder: PrefixEncoder
    """Its rows hold each block's keys, then its values: [n, blocks * 2 * key heads * head width]."""
    blocks: int
    key_heads: int
    before_text: int
    before_answer: int = 0
    tasks: int = 1

    def text_rows(self, task: int) -> None:
        """Give None: nothing is embedded."""

    def answer_rows(self, task: int) -> None:
        """Give None: nothing is embedded."""

    def key_values(self, task: int) -> KeyValues:
        """Give each block's."""
        table = cast(torch.Tensor, self.encoder.embedding.weight)
        parts = table.view(self.before_text, self.blocks, 2, self.key_heads, -1).permute(1, 2, 3, 0, 4)
        return [(keys, values) for keys, values in parts]


@dataclass(frozen=True, kw_only=True)
class PrefixTuning(Unmerged):
    """Prefix tuning's settings."""

    num_virtual_tokens: int
    init_text: str | None = None
    """Text to begin with; None: sampled tokens."""
    name: str = "PREFIX_TUNING"

    def attach(self, loaded: LoadedModel, *, seed: int) -> torch.nn.Module:
        """Give the base with prefixes; same seed, same prefixes.

        Raises:
            TrainingFailed: the model has an encoder, or a text to begin with has no tokens.
        """
        if loaded.architecture.is_encoder_decoder:
            # PEFT gives every second block of a decoder the prefix of another, and no prefix to its encoder.
            raise TrainingFailed(
                "prefix tuning is for causal models; tune an encoder-decoder model by PROMPT_TUNING or P_TUNING"
            )
        torch.manual_seed(seed)
        base = loaded.model
        found = _first_key_values(base, first_tokens(base, count=self.num_virtual_tokens, text=self.init_text))
        table = torch.stack([one for pair in found for one in pair]).permute(2, 0, 1, 3).flatten(1)
        key_heads, _, head_width = found[0][0].shape
        encoder = PrefixEncoder(self._config(base, blocks=len(found), key_heads=key_heads, head_width=head_width))
        encoder.embedding.weight.data = table.float().contiguous()
        tokens = PrefixKeyValues(
            encoder=encoder, blocks=len(found), key_heads=key_heads, before_text=self.num_virtual_tokens
        )
        return Prompted(base, encoder, tokens)

    def save(self, tuned: torch.nn.Module, folder: Path) -> None:
        """Write a PEFT adapter folder and the keys and values as they are served."""
        whole = cast(Prompted, tuned)
        tokens = cast(PrefixKeyValues, whole.virtual_tokens)
        keys = tokens.key_values(0)[0][0]
        config = self._config(whole.base, blocks=tokens.blocks, key_heads=tokens.key_heads, head_width=keys.shape[-1])
        prompted.save(whole, folder, config, {"prompt_embeddings": tokens.encoder.embedding.weight})

    def _config(self, base: torch.nn.Module, *, blocks: int, key_heads: int, head_width: int) -> PrefixTuningConfig:
        return PrefixTuningConfig(
            **{
                **prompted.config_fields(base, count=self.num_virtual_tokens, sides=("DECODER",)),
                "token_dim": key_heads * head_width,
                "num_attention_heads": key_heads,
                "num_layers": blocks,
            },
            encoder_hidden_size=key_heads * head_width,
            prefix_projection=False,
        )


@torch.no_grad()
def _first_key_values(base: torch.nn.Module, tokens: torch.Tensor) -> KeyValues:
    """Give what each block keeps of `tokens` at the first places: [key heads, n, head width] each."""
    cache = DynamicCache()
    device = next(base.parameters()).device
    cast(Any, models.body_of(base))(input_ids=tokens[None].to(device), past_key_values=cache, use_cache=True)
    return [(cast(Any, layer).keys[0], cast(Any, layer).values[0]) for layer in cache.layers]
