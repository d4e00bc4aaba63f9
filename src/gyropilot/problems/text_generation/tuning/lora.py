"""LoRA on the linear layers of every block, built by peft; float32 adapters over a base of any precision."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora.layer import Linear as LoraLinear

from gyropilot.problems.text_generation.models import DTYPES, DtypeName, LoadedModel, trainable_parameters


@dataclass(frozen=True, kw_only=True)
class Lora:
    """LoRA's settings: y = W x + (alpha / rank) B A dropout(x), A random, B zero."""

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    targets: tuple[str, ...] = ()
    """Last names of the layers to adapt; empty: every linear layer of the blocks."""
    name: str = "LORA"

    @property
    def saves_adapter(self) -> bool:
        """Give true."""
        return True

    @property
    def merges(self) -> bool:
        """Give true."""
        return True

    def base_dtype(self, fastest: DtypeName) -> DtypeName:
        """Give `fastest`: the base is only read."""
        return fastest

    def attach(self, loaded: LoadedModel, *, seed: int) -> torch.nn.Module:
        """Give the base with adapters; same seed, same adapters."""
        torch.manual_seed(seed)
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=list(self.targets or loaded.architecture.linear_layers),
            bias="none",
            task_type="SEQ_2_SEQ_LM" if loaded.architecture.is_encoder_decoder else "CAUSAL_LM",
        )
        tuned = get_peft_model(loaded.model, config, autocast_adapter_dtype=True)
        for one in trainable_parameters(tuned).values():
            one.data = one.data.float()
        return cast(torch.nn.Module, tuned)

    def save(self, tuned: torch.nn.Module, folder: Path) -> None:
        """Write a PEFT adapter folder."""
        # Left to "auto", peft asks the hub about the base model in the middle of saving.
        cast(PeftModel, tuned).save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)

    def merge(self, tuned: torch.nn.Module, *, dtype: DtypeName) -> torch.nn.Module:
        """Fold the adapters into the base, layer by layer in float32, rounded once to the base's precision."""
        for module in tuned.modules():
            if isinstance(module, LoraLinear):
                weight = module.get_base_layer().weight
                change = sum(module.get_delta_weight(name) for name in module.active_adapters)
                weight.data.copy_(weight.data.float() + change)
        return cast(torch.nn.Module, cast(PeftModel, tuned).unload()).to(DTYPES[dtype])


def fingerprint(tuned: torch.nn.Module) -> str:
    """Give the sha256 of the trained parameters: recorded before training, it shows that the seed reached them."""
    total = hashlib.sha256()
    for name, one in trainable_parameters(tuned).items():
        total.update(name.encode())
        total.update(one.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
