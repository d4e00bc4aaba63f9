"""The families of models that can be tuned, and what the loop must know of each; light to import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gyropilot.errors import TrainingFailed

Json = Any
Layout = Literal["packed", "padded", "encoder-decoder"]
"""How rows are computed together.

packed: in one sequence, each seeing itself alone by a mask and positions of its own.
padded: side by side, since the model counts positions by place and would take a pack for another text.
encoder-decoder: side by side, prompts to the encoder and answers to the decoder.
"""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What the loop must know of one family of models."""

    model_type: str
    """As config.json names it."""
    class_name: str
    """As the base-model store and the architectures of config.json name it."""
    body: str
    """Attribute of the causal model that gives hidden states; empty: it has an encoder and a decoder."""
    linear_layers: tuple[str, ...]
    """Last names of the linear layers of a block: what LoRA adapts by default."""
    norms: Literal["rms", "layer"]
    attention: Literal["sdpa", "eager"] = "sdpa"
    """How its attention is computed: transformers has some families in plain products only."""
    fixed: Mapping[str, tuple[Json, ...]] | None = None
    """Configuration that transformers reads past: dotted keys, and the values with which that does no harm."""

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether prompts go to an encoder and answers to a decoder."""
        return not self.body


FAST_TYPES = ("llama", "mistral", "qwen2")
"""Families that have a fast way on a CPU: to tune in layers.py, to answer in decoding/llama_decoder.py."""
_LLAMA_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_NEOX_LINEAR = ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h")
_MPT_LINEAR = ("Wqkv", "out_proj", "up_proj", "down_proj")
_T5_LINEAR = ("q", "k", "v", "o", "wi", "wi_0", "wi_1", "wo")
_MPT_FIXED: Mapping[str, tuple[Json, ...]] = {
    "expansion_ratio": (4,),
    "no_bias": (True,),
    "logit_scale": (None,),
    "attn_config.alibi": (True,),
    "attn_config.alibi_bias_max": (8,),
    "attn_config.attn_type": ("multihead_attention",),
    "attn_config.qk_ln": (False,),
    "attn_config.prefix_lm": (False,),
}


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
    Architecture(
        model_type="falcon",
        class_name="FalconForCausalLM",
        body="transformer",
        linear_layers=_NEOX_LINEAR,
        norms="layer",
    ),
    Architecture(
        model_type="mpt",
        class_name="MptForCausalLM",
        body="transformer",
        linear_layers=_MPT_LINEAR,
        norms="layer",
        attention="eager",
        fixed=_MPT_FIXED,
    ),
    Architecture(
        model_type="t5",
        class_name="T5ForConditionalGeneration",
        body="",
        linear_layers=_T5_LINEAR,
        norms="rms",
        attention="eager",
    ),
)


def find_architecture(model_type: str) -> Architecture:
    """Give the entry of ARCHITECTURES for a `model_type`; raises TrainingFailed for one that is not supported."""
    for architecture in ARCHITECTURES:
        if architecture.model_type == model_type:
            return architecture
    known = ", ".join(one.model_type for one in ARCHITECTURES)
    raise TrainingFailed(f"models of type {model_type!r} cannot be tuned yet; supported types: {known}")


def layout_of(architecture: Architecture, config: Mapping[str, Json]) -> Layout:
    """Give how rows are computed together by a model of this config.json."""
    if architecture.is_encoder_decoder:
        return "encoder-decoder"
    # MPT and the Falcons named "rw" bend attention by the distance of places (ALiBi).
    is_alibi = architecture.model_type == "mpt" or bool(config.get("alibi"))
    return "padded" if is_alibi else "packed"


def check_config(architecture: Architecture, config: Mapping[str, Json]) -> None:
    """Raise TrainingFailed where transformers would compute another model than the one that config.json describes."""
    faults = []
    for key, values in (architecture.fixed or {}).items():
        found: Json = config
        for part in key.split("."):
            found = (found or {}).get(part, values[0]) if isinstance(found, Mapping) or found is None else values[0]
        if found not in values:
            faults.append(f"{key} is {found!r} and would be read as {values[0]!r}")
    if faults:
        raise TrainingFailed(
            f"this {architecture.model_type} model is of a kind that cannot be computed here: {'; '.join(faults)};"
            " choose another base model"
        )
