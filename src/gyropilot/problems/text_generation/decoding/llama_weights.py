"""Reads a Llama-type model folder without transformers: config.json and safetensors; called by the fast decoder.

What is not known to the last key is not read here: another activation, position scheme or tensor, and the model is
left to the plain decoder.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from gyropilot.problems.text_generation.architectures import FAST_TYPES

Json = Any
QKV = ("q_proj", "k_proj", "v_proj")
_BLOCK_NAMES = (
    "input_layernorm.weight",
    "post_attention_layernorm.weight",
    *(f"self_attn.{name}.weight" for name in (*QKV, "o_proj")),
    *(f"mlp.{name}.weight" for name in ("gate_proj", "up_proj", "down_proj")),
)
_KEYS = ("hidden_size", "num_hidden_layers", "num_attention_heads")
_MORE_KEYS = {"mistral": ("num_key_value_heads", "sliding_window"), "qwen2": ("num_key_value_heads",)}
"""What a configuration must name, since transformers takes something else for it than none."""
_OUTER_NAMES = ("model.embed_tokens.weight", "model.norm.weight")


@dataclass(frozen=True)
class Shape:
    """What of a model's configuration computing needs."""

    hidden: int
    layers: int
    heads: int
    key_heads: int
    width: int
    """Of a head."""
    epsilon: float
    window: int | None
    """How many tokens back a token sees, itself among them; None: all."""
    model_tokens: int | None
    frequencies: torch.Tensor
    """[width / 2], float32: radians a token."""


class Weights:
    """The tensors of a folder, one at a time; a context manager."""

    def __init__(self, folder: Path) -> None:
        self._stack = ExitStack()
        self._file_by_name: dict[str, Any] = {}
        for path in sorted(folder.glob("*.safetensors")):
            file = self._stack.enter_context(safe_open(str(path), framework="pt"))
            self._file_by_name.update(dict.fromkeys(file.keys(), file))

    def __enter__(self) -> Weights:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def names(self) -> frozenset[str]:
        """Give the names of all tensors."""
        return frozenset(self._file_by_name)

    def shape(self, name: str) -> list[int]:
        """Give a tensor's shape, without reading it."""
        shape: list[int] = self._file_by_name[name].get_slice(name).get_shape()
        return shape

    def get(self, name: str) -> torch.Tensor:
        """Give a tensor as it is stored; a copy, since the file's own pages would all stay mapped for one of them."""
        tensor: torch.Tensor = self._file_by_name[name].get_tensor(name)
        return tensor.clone()

    def find(self, name: str) -> torch.Tensor | None:
        """Give a tensor, or None where there is none of the name."""
        return self.get(name) if name in self._file_by_name else None


def why_not(config: Mapping[str, Json], names: frozenset[str]) -> str:
    """Say what keeps a model from being read here; empty: nothing."""
    kind = config.get("model_type")
    if kind not in FAST_TYPES:
        return f"models of type {kind} are computed by transformers"
    absent = [key for key in (*_KEYS, *_MORE_KEYS.get(kind, ())) if key not in config]
    if absent:
        return f"its configuration does not name {', '.join(absent)}"
    if config.get("hidden_act", "silu") != "silu":
        return f"its activation is {config['hidden_act']}"
    rope = _rope(config)
    if rope["rope_type"] not in ("default", "linear", "llama3") or rope.get("partial_rotary_factor", 1.0) != 1.0:
        return f"its positions are of type {rope['rope_type']}"
    if config.get("use_sliding_window") or set(config.get("layer_types") or ()) - {_usual_layer(config)}:
        return "some of its layers see less than others"
    if config.get("quantization_config"):
        return "it is quantized"
    blocks = {f"model.layers.{number}.{name}" for number in range(config["num_hidden_layers"]) for name in _BLOCK_NAMES}
    needed = blocks | set(_OUTER_NAMES) | (set() if config.get("tie_word_embeddings") else {"lm_head.weight"})
    biases = {name.removesuffix("weight") + "bias" for name in blocks if "layernorm" not in name}
    odd = sorted(needed - names) + sorted(names - needed - biases - {"lm_head.weight"})
    odd = [name for name in odd if not name.endswith("rotary_emb.inv_freq")]
    return f"its tensor {odd[0]} is not as expected" if odd else ""


def read_config(folder: Path) -> dict[str, Json]:
    """Give config.json."""
    return dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))


def shape_of(config: Mapping[str, Json]) -> Shape:
    """Give what computing needs of a configuration for which `why_not` is empty."""
    hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
    width = int(config.get("head_dim") or hidden // heads)
    window = config.get("sliding_window") if config["model_type"] == "mistral" else None
    positions = config.get("max_position_embeddings")
    return Shape(
        hidden=hidden,
        layers=int(config["num_hidden_layers"]),
        heads=heads,
        key_heads=int(config.get("num_key_value_heads") or heads),
        width=width,
        epsilon=float(config.get("rms_norm_eps", 1e-6)),
        window=int(window) if window else None,
        model_tokens=int(positions) if positions else None,
        frequencies=_frequencies(_rope(config), width),
    )


def paired(weight: torch.Tensor, width: int) -> torch.Tensor:
    """Give the rows of each head, [heads * width, ...], so that the two that are rotated together lie side by side.

    Queries and keys are both put so, which leaves their products as they are.
    """
    rest = weight.shape[1:]
    return weight.view(-1, 2, width // 2, *rest).transpose(1, 2).reshape(-1, *rest)


def linear_names(layers: int) -> Iterator[tuple[str, ...]]:
    """Give the names of the linear layers of each block: q, k, v, o, gate, up, down."""
    for number in range(layers):
        attention, mlp = f"model.layers.{number}.self_attn", f"model.layers.{number}.mlp"
        yield (
            *(f"{attention}.{name}" for name in (*QKV, "o_proj")),
            *(f"{mlp}.{name}" for name in ("gate_proj", "up_proj", "down_proj")),
        )


def _usual_layer(config: Mapping[str, Json]) -> str:
    has_window = config.get("model_type") == "mistral" and config.get("sliding_window")
    return "sliding_attention" if has_window else "full_attention"


def _rope(config: Mapping[str, Json]) -> dict[str, Json]:
    """Give the position scheme, as configurations of today or of before name it."""
    given = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    given.setdefault("rope_type", given.get("type", "default"))
    given.setdefault("rope_theta", config.get("rope_theta", 10000.0))
    return given


def _frequencies(rope: Mapping[str, Json], width: int) -> torch.Tensor:
    """As transformers computes them (modeling_rope_utils)."""
    found = 1.0 / (float(rope["rope_theta"]) ** (torch.arange(0, width, 2, dtype=torch.int64).float() / width))
    if rope["rope_type"] == "linear":
        return found / float(rope["factor"])
    if rope["rope_type"] == "llama3":
        return _stretched(found, rope)
    return found


def _stretched(found: torch.Tensor, rope: Mapping[str, Json]) -> torch.Tensor:
    factor, low, high = (float(rope[name]) for name in ("factor", "low_freq_factor", "high_freq_factor"))
    before = float(rope["original_max_position_embeddings"])
    wavelengths = 2 * math.pi / found
    share = (before / wavelengths - low) / (high - low)
    between = (1 - share) * found / factor + share * found
    slow = torch.where(wavelengths > before / low, found / factor, found)
    is_between = ~(wavelengths < before / high) & ~(wavelengths > before / low)
    return torch.where(is_between, between, slow)
