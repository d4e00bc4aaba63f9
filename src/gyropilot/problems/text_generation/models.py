"""Loads a base model folder and names the parts that training touches; called by train, evaluate and the replica."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from gyropilot.errors import TrainingFailed
from gyropilot.problems.text_generation.architectures import Architecture, find_architecture

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DtypeName = Literal["float32", "bfloat16"]
DTYPES: dict[DtypeName, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A base model in memory, in evaluation mode, without gradients."""

    model: torch.nn.Module
    tokenizer: PreTrainedTokenizerBase
    architecture: Architecture
    context_tokens: int


def load(folder: Path, *, dtype: DtypeName, attention: Literal["sdpa", "eager"]) -> LoadedModel:
    """Load a model folder from disk alone: safetensors, no code of the folder's own.

    Raises:
        TrainingFailed: the architecture is not one of ARCHITECTURES, or the folder holds no safetensors.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    architecture = find_architecture(str(config.get("model_type")))
    if not any(folder.glob("*.safetensors")):
        raise TrainingFailed(f"{folder.name} holds no .safetensors file; register the model again in that format")
    model = AutoModelForCausalLM.from_pretrained(
        str(folder),
        dtype=DTYPES[dtype],
        attn_implementation=attention,
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
    )
    tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    model.requires_grad_(requires_grad=False)
    model.eval()
    return LoadedModel(
        model=model, tokenizer=tokenizer, architecture=architecture, context_tokens=_context_tokens(config)
    )


def architecture_of(model: torch.nn.Module) -> Architecture:
    """Give the architecture of a loaded model, bare or with an adapter."""
    return find_architecture(str(getattr(causal_model(model).config, "model_type", None)))


def causal_model(model: torch.nn.Module) -> torch.nn.Module:
    """Give the causal model itself, without the wrapper that an adapter puts round it."""
    unwrap = getattr(model, "get_base_model", None)
    return cast(torch.nn.Module, unwrap()) if unwrap is not None else model


def body_of(model: torch.nn.Module) -> torch.nn.Module:
    """Give the part that maps tokens to hidden states, final norm included."""
    return cast(torch.nn.Module, getattr(causal_model(model), architecture_of(model).body))


def head_of(model: torch.nn.Module) -> torch.nn.Linear:
    """Give the layer that maps hidden states to logits."""
    head = causal_model(model).get_output_embeddings()  # type: ignore[operator]
    return cast(torch.nn.Linear, head)


def trainable_parameters(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """Give the parameters that training changes, by name, in a fixed order."""
    return {name: one for name, one in sorted(model.named_parameters()) if one.requires_grad}


def _context_tokens(config: dict[str, object]) -> int:
    length = int(cast(int, config.get("max_position_embeddings", 2048)))
    window = config.get("sliding_window")
    # Packs carry a mask of their own, which knows no window; within the window both say the same.
    return min(length, int(cast(int, window))) if window and config.get("use_sliding_window", True) else length
