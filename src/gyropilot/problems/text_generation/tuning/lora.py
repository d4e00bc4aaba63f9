"""LoRA on the linear layers of every block, built by PEFT; float32 adapters over a base of any precision.

Variants: rsLoRA (scaled by alpha over the root of the rank) and DoRA (direction and length of weights apart).
Beginnings: PISSA and OLORA take the base's own strongest directions out of it and train those, so the base changes;
what is saved for others then is the difference to the beginning, an adapter of twice the rank on the untouched base.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from peft import LoraConfig, PeftModel
from peft.tuners.lora.layer import Linear as LoraLinear

from gyropilot.problems.text_generation.models import DTYPES, DtypeName, LoadedModel, trainable_parameters
from gyropilot.problems.text_generation.tuning import wrapping

_CHANGING_BASE = ("PISSA", "OLORA")


@dataclass(frozen=True, kw_only=True)
class Lora:
    """LoRA's settings: y = W x + (alpha / rank) B A dropout(x), A random, B zero."""

    rank: int = 16
    alpha: float = 32
    dropout: float = 0.0
    targets: tuple[str, ...] = ()
    """Last names of the layers to adapt; empty: every linear layer of the blocks."""
    variant: Literal["LORA", "RSLORA", "DORA"] = "LORA"
    init: str = "DEFAULT"
    """DEFAULT, GAUSSIAN, ORTHOGONAL, OLORA, PISSA, or PISSA_NITER_<n>."""
    name: str = "LORA"

    @property
    def saves_adapter(self) -> bool:
        """Give true, but for a DoRA whose base changed: that difference is no adapter."""
        return not (self._changes_base and self.variant == "DORA")

    @property
    def merges(self) -> bool:
        """Give true."""
        return True

    @property
    def is_plain(self) -> bool:
        """Whether what is saved is W x + scale B A x on the untouched base, as the trained model was computed."""
        return self.variant != "DORA" and not self._changes_base

    def base_dtype(self, fastest: DtypeName) -> DtypeName:
        """Give `fastest`: the base is only read, or rounded once to it."""
        return fastest

    def attach(self, loaded: LoadedModel, *, seed: int) -> torch.nn.Module:
        """Give the base with adapters; same seed, same adapters.

        Raises:
            TrainingFailed: a target is no linear layer of the model, or the settings do not fit it.
        """
        config = LoraConfig(
            r=self.rank,
            lora_alpha=cast(int, self.alpha),
            lora_dropout=self.dropout,
            target_modules=wrapping.linear_targets(loaded, self.targets),
            use_rslora=self.variant == "RSLORA",
            use_dora=self.variant == "DORA",
            init_lora_weights=True if self.init == "DEFAULT" else cast(Any, self.init.lower()),
            bias="none",
            task_type=wrapping.task_type(loaded),
        )
        tuned = wrapping.wrap(loaded, config, seed=seed)
        if self._changes_base and self.saves_adapter:
            began = {name: one.detach().clone() for name, one in trainable_parameters(tuned).items()}
            cast(Any, tuned).began = began
        return tuned

    def save(self, tuned: torch.nn.Module, folder: Path) -> None:
        """Write a PEFT adapter folder, for the untouched base."""
        if not self._changes_base:
            wrapping.save(tuned, folder)
            return
        with tempfile.TemporaryDirectory() as scratch, wrapping.quiet():
            beginning = Path(scratch) / "beginning"
            _save_beginning(tuned, beginning)
            cast(PeftModel, tuned).save_pretrained(
                str(folder),
                safe_serialization=True,
                save_embedding_layers=False,
                path_initial_model_for_weight_conversion=str(beginning),
            )

    def merge(self, tuned: torch.nn.Module, *, dtype: DtypeName) -> torch.nn.Module:
        """Fold the adapters into the base, layer by layer in float32, rounded once to the base's precision."""
        if self.variant == "DORA":
            return wrapping.fold(tuned, dtype=dtype)
        for module in tuned.modules():
            if isinstance(module, LoraLinear):
                weight = module.get_base_layer().weight
                change = sum(module.get_delta_weight(name) for name in module.active_adapters)
                weight.data.copy_(weight.data.float() + change)
        return cast(torch.nn.Module, cast(PeftModel, tuned).unload()).to(DTYPES[dtype])

    @property
    def _changes_base(self) -> bool:
        return self.init.startswith(_CHANGING_BASE)


def fingerprint(tuned: torch.nn.Module) -> str:
    """Give the sha256 of the trained parameters: recorded before training, it shows that the seed reached them."""
    total = hashlib.sha256()
    for name, one in trainable_parameters(tuned).items():
        total.update(name.encode())
        total.update(one.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def _save_beginning(tuned: torch.nn.Module, folder: Path) -> None:
    """Write the adapter as it was before training; what was trained since is put back."""
    parameters = trainable_parameters(tuned)
    trained = {name: one.data for name, one in parameters.items()}
    for name, one in parameters.items():
        one.data = cast(dict[str, torch.Tensor], cast(Any, tuned).began)[name]
    try:
        wrapping.save(tuned, folder)
    finally:
        for name, one in parameters.items():
            one.data = trained[name]
