"""Loads a base model folder and names the parts that training touches; called by train, evaluate and the replica."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from gyropilot.errors import TrainingFailed
from gyropilot.problems.text_generation.architectures import (
    Architecture,
    Layout,
    check_config,
    find_architecture,
    layout_of,
)

DtypeName = Literal["float32", "bfloat16"]
DTYPES: dict[DtypeName, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A base model in memory, in evaluation mode, without gradients."""

    model: torch.nn.Module
    architecture: Architecture


def load(folder: Path, *, dtype: DtypeName, attention: Literal["sdpa", "eager"]) -> LoadedModel:
    """Load a model folder from disk alone: safetensors, no code of the folder's own.

    Raises:
        TrainingFailed: the architecture is not one of ARCHITECTURES, transformers would compute another model than
            config.json describes, or the folder holds no safetensors.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    architecture = find_architecture(str(config.get("model_type")))
    check_config(architecture, config)
    if not any(folder.glob("*.safetensors")):
        raise TrainingFailed(f"{folder.name} holds no .safetensors file; register the model again in that format")
    kind: Any = AutoModelForSeq2SeqLM if architecture.is_encoder_decoder else AutoModelForCausalLM
    model = kind.from_pretrained(
        str(folder),
        dtype=DTYPES[dtype],
        attn_implementation=attention if architecture.attention == "sdpa" else architecture.attention,
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
    )
    model.requires_grad_(requires_grad=False)
    model.eval()
    return LoadedModel(model=model, architecture=architecture)


def architecture_of(model: torch.nn.Module) -> Architecture:
    """Give the architecture of a loaded model, bare or with an adapter."""
    return find_architecture(str(getattr(_config(model), "model_type", None)))


def layout(model: torch.nn.Module) -> Layout:
    """Give how `model` computes rows together."""
    return layout_of(architecture_of(model), _config(model).to_dict())


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """Give the model itself, causal or with an encoder, without the wrapper that an adapter puts round it."""
    unwrap = getattr(model, "get_base_model", None)
    return cast(torch.nn.Module, unwrap()) if unwrap is not None else model


def body_of(model: torch.nn.Module) -> torch.nn.Module:
    """Give the part of a causal model that maps tokens to hidden states, final norm included."""
    return cast(torch.nn.Module, getattr(unwrapped(model), architecture_of(model).body))


def encoder_and_decoder_of(model: torch.nn.Module) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Give the two halves of a model that has an encoder."""
    whole: Any = unwrapped(model)
    return whole.encoder, whole.decoder


def head_of(model: torch.nn.Module) -> torch.nn.Linear:
    """Give the layer that maps hidden states to logits."""
    head = unwrapped(model).get_output_embeddings()  # type: ignore[operator]
    return cast(torch.nn.Linear, head)


def head_scale(model: torch.nn.Module) -> float:
    """Give what hidden states are multiplied by before the head: 1, but for the first T5."""
    config = _config(model)
    return float(config.d_model) ** -0.5 if getattr(config, "scale_decoder_outputs", False) else 1.0


def answer_start(model: torch.nn.Module) -> int:
    """Give the token with which the decoder of an encoder-decoder model begins every answer."""
    whole: Any = unwrapped(model)
    places = (whole.config, getattr(whole, "generation_config", None))
    ids = [getattr(place, "decoder_start_token_id", None) for place in places] + [whole.config.pad_token_id]
    return int(next((one for one in ids if one is not None), 0))


def trainable_parameters(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """Give the parameters that training changes, by name, in a fixed order; one that stands in two places once."""
    return {name: one for name, one in sorted(model.named_parameters()) if one.requires_grad}


def _config(model: torch.nn.Module) -> Any:  # noqa: ANN401 - a configuration of transformers, untyped
    return unwrapped(model).config
