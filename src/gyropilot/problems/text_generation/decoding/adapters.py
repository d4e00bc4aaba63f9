"""Reads an adapter folder without peft: which linear layers a LoRA changes, and by what; called by the decoders.

A folder of virtual tokens changes none (virtual_tokens.py).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from gyropilot.errors import TrainingFailed
from gyropilot.problems.text_generation import file_names
from gyropilot.problems.text_generation.decoding import virtual_tokens
from gyropilot.problems.text_generation.decoding.virtual_tokens import NOTHING, Place, TokensBefore

_PREFIX = "base_model.model."
_SETTINGS: Mapping[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    "use_dora": (False, None),
    "init_lora_weights": (True, False, None, "gaussian", "orthogonal"),
    "fan_in_fan_out": (False, None),
    "rank_pattern": ({}, None),
    "alpha_pattern": ({}, None),
    "modules_to_save": (None, []),
    "lora_bias": (False, None),
    "alora_invocation_tokens": (None,),
    "trainable_token_indices": (None,),
}
"""Settings under which W x + scale B A x is what the adapter means, each with the values that say so."""


@dataclass(frozen=True)
class Change:
    """What an adapter adds to one linear layer's result: x A^T B^T."""

    down: torch.Tensor
    """A, [rank, in]."""
    up: torch.Tensor
    """B with the scale in it, [out, rank]."""


@dataclass(frozen=True, eq=False)
class Adapter:
    """A LoRA, or virtual tokens, in memory."""

    changes: Mapping[str, Change]
    """By the linear layer's name in the model, as model.layers.0.self_attn.q_proj."""
    before: TokensBefore = NOTHING

    @property
    def size_bytes(self) -> int:
        """Give the memory its tensors take."""
        changes = (one.nbytes for change in self.changes.values() for one in (change.down, change.up))
        return sum(changes) + self.before.size_bytes


def why_not(folder: Path) -> str:
    """Say what keeps an adapter folder from being served beside its base; empty: nothing that its settings tell."""
    if virtual_tokens.are_in(folder):
        return ""
    try:
        return _odd(json.loads((folder / file_names.PEFT_CONFIG).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return ""


def read_adapter(folder: Path, place: Place, *, task: int, dtype: torch.dtype, device: torch.device) -> Adapter:
    """Read virtual tokens, of one task, where there are some; else adapter_config.json and the tensors of a LoRA.

    Raises:
        TrainingFailed: the folder is not whole, or holds another kind of adapter, or virtual tokens of another model.
    """
    if virtual_tokens.are_in(folder):
        return Adapter(changes={}, before=virtual_tokens.read(folder, place, task=task, dtype=dtype, device=device))
    try:
        config = json.loads((folder / file_names.PEFT_CONFIG).read_text(encoding="utf-8"))
        tensors = load_file(str(folder / file_names.PEFT_TENSORS), device=str(device))
    except (OSError, ValueError, SafetensorError) as error:
        raise TrainingFailed(f"the adapter in {folder.name} cannot be read: {error}") from error
    odd = _odd(config)
    if odd:
        raise TrainingFailed(f"the adapter in {folder.name} is of a kind that is not served here: {odd}")
    rank = int(config["r"])
    scale = float(config["lora_alpha"]) / (math.sqrt(rank) if config.get("use_rslora") else rank)
    return Adapter(changes=_changes(tensors, scale, dtype, folder.name))


def check_fits(adapter: Adapter, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise TrainingFailed unless every layer that an adapter changes is one of `shapes`: [out, in] by name."""
    faults = []
    for name, change in adapter.changes.items():
        found = (change.up.shape[0], change.down.shape[1])
        if shapes.get(name) != found:
            faults.append(f"{name} is {shapes.get(name, 'not in the model')} and the adapter's {found}")
    if faults:
        raise TrainingFailed(f"the adapter is of another base model: {'; '.join(faults[:3])}")


def _odd(config: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{key} is {config[key]!r}" for key, good in _SETTINGS.items() if key in config and config[key] not in good
    )


def _changes(tensors: Mapping[str, torch.Tensor], scale: float, dtype: torch.dtype, where: str) -> dict[str, Change]:
    downs, ups, odd = {}, {}, []
    for key, tensor in tensors.items():
        name = key.removeprefix(_PREFIX)
        if name.endswith(".lora_A.weight"):
            downs[name.removesuffix(".lora_A.weight")] = tensor
        elif name.endswith(".lora_B.weight"):
            ups[name.removesuffix(".lora_B.weight")] = tensor
        else:
            odd.append(key)
    odd += sorted(downs.keys() ^ ups.keys())
    if odd:
        raise TrainingFailed(f"the adapter in {where} holds what is no LoRA: {', '.join(odd[:3])}")
    return {
        name: Change(down=down.to(dtype, copy=True).contiguous(), up=(ups[name].float() * scale).to(dtype).contiguous())
        for name, down in sorted(downs.items())
    }
