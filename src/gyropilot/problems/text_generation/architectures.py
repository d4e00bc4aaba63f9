"""The families of models that can be tuned, and what the loop must know of each; light to import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gyropilot.errors import TrainingFailed


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What the loop must know of one family of models."""

    model_type: str
    """As config.json names it."""
    class_name: str
    """As the base-model store and the architectures of config.json name it."""
    body: str
    """Attribute of the causal model that gives hidden states."""
    linear_layers: tuple[str, ...]
    """Last names of the linear layers of a block: what LoRA adapts by default."""
    norms: Literal["rms", "layer"]


_LLAMA_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_NEOX_LINEAR = ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h")


def _llama_like(model_type: str, class_name: str) -> Architecture:
    return Architecture(
        model_type=model_type, class_name=class_name, body="model", linear_layers=_LLAMA_LINEAR, norms="rms"
    )


ARCHITECTURES: tuple[Architecture, ...] = (
    _llama_like("llama", "LlamaForCausalLM"),
    _llama_like("mistral", "MistralForCausalLM"),
    _llama_like("qwen2", "Qwen2ForCausalLM"),
    Architecture(
        model_type="gpt_neox",
        class_name="GPTNeoXForCausalLM",
        body="gpt_neox",
        linear_layers=_NEOX_LINEAR,
        norms="layer",
    ),
)


def find_architecture(model_type: str) -> Architecture:
    """Give the entry of ARCHITECTURES for a `model_type`; raises TrainingFailed for one that is not supported."""
    for architecture in ARCHITECTURES:
        if architecture.model_type == model_type:
            return architecture
    known = ", ".join(one.model_type for one in ARCHITECTURES)
    raise TrainingFailed(f"models of type {model_type!r} cannot be tuned yet; supported types: {known}")
