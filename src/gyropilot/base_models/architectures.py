"""The model families that may be registered, and the keys of their configuration that we keep; all else is dropped.

A config.json may name code to import, kernels to fetch and attention to load; none of these keys is listed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gyropilot.base_models.catalog import Kind

Json = Any


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One family."""

    model_type: str
    name: str
    """Class name that the written config.json carries."""
    kind: Kind
    keys: frozenset[str]
    """Keys of config.json that are its own, beside COMMON_KEYS."""


COMMON_KEYS = frozenset(
    [
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "max_position_embeddings",
        "hidden_act",
        "initializer_range",
        "tie_word_embeddings",
        "dtype",
        "torch_dtype",
        "use_cache",
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
        "attention_bias",
        "attention_dropout",
        "rope_theta",
        "rope_scaling",
        "rope_parameters",
    ]
)

_LLAMA_KEYS = frozenset(["rms_norm_eps", "mlp_bias", "pretraining_tp"])
_WINDOW_KEYS = frozenset(["rms_norm_eps", "sliding_window", "use_sliding_window", "max_window_layers", "layer_types"])
_NEOX_KEYS = frozenset(
    [
        "rotary_pct",
        "rotary_emb_base",
        "partial_rotary_factor",
        "use_parallel_residual",
        "layer_norm_eps",
        "hidden_dropout",
        "classifier_dropout",
    ]
)
_FALCON_KEYS = frozenset(
    [
        "alibi",
        "bias",
        "multi_query",
        "new_decoder_architecture",
        "parallel_attn",
        "num_ln_in_parallel_attn",
        "num_kv_heads",
        "ffn_hidden_size",
        "activation",
        "layer_norm_epsilon",
        "hidden_dropout",
    ]
)
_MPT_KEYS = frozenset(
    [
        "d_model",
        "n_heads",
        "n_layers",
        "expansion_ratio",
        "max_seq_len",
        "attn_config",
        "no_bias",
        "emb_pdrop",
        "resid_pdrop",
        "learned_pos_emb",
        "layer_norm_epsilon",
        "logit_scale",
        "norm_type",
        "use_norm_bias",
        "embedding_fraction",
    ]
)
_T5_KEYS = frozenset(
    [
        "d_model",
        "d_kv",
        "d_ff",
        "num_layers",
        "num_decoder_layers",
        "num_heads",
        "relative_attention_num_buckets",
        "relative_attention_max_distance",
        "dropout_rate",
        "layer_norm_epsilon",
        "initializer_factor",
        "feed_forward_proj",
        "is_gated_act",
        "dense_act_fn",
        "decoder_start_token_id",
        "is_encoder_decoder",
        "scale_decoder_outputs",
        "n_positions",
    ]
)

ARCHITECTURES: tuple[Architecture, ...] = (
    Architecture(model_type="llama", name="LlamaForCausalLM", kind="causal", keys=_LLAMA_KEYS),
    Architecture(model_type="mistral", name="MistralForCausalLM", kind="causal", keys=_WINDOW_KEYS),
    Architecture(model_type="qwen2", name="Qwen2ForCausalLM", kind="causal", keys=_WINDOW_KEYS),
    Architecture(model_type="gpt_neox", name="GPTNeoXForCausalLM", kind="causal", keys=_NEOX_KEYS),
    Architecture(model_type="falcon", name="FalconForCausalLM", kind="causal", keys=_FALCON_KEYS),
    Architecture(model_type="mpt", name="MptForCausalLM", kind="causal", keys=_MPT_KEYS),
    Architecture(model_type="t5", name="T5ForConditionalGeneration", kind="seq2seq", keys=_T5_KEYS),
)

NESTED_KEYS: dict[str, frozenset[str]] = {
    name: frozenset(
        [
            "rope_type",
            "type",
            "factor",
            "rope_theta",
            "low_freq_factor",
            "high_freq_factor",
            "original_max_position_embeddings",
            "attention_factor",
            "beta_fast",
            "beta_slow",
            "mscale",
            "mscale_all_dim",
            "short_factor",
            "long_factor",
            "partial_rotary_factor",
        ]
    )
    for name in ("rope_scaling", "rope_parameters")
} | {
    "attn_config": frozenset(
        [
            "attn_type",
            "attn_pdrop",
            "clip_qkv",
            "qk_ln",
            "softmax_scale",
            "prefix_lm",
            "attn_uses_sequence_id",
            "alibi",
            "alibi_bias_max",
        ]
    )
}
"""Keys of config.json that hold an object, and what may stand in it."""


_FALCON_NAMES = {"n_layer": "num_hidden_layers", "n_head": "num_attention_heads", "n_head_kv": "num_kv_heads"}
_FIRST_FALCONS: dict[str, dict[str, Json]] = {
    "falcon": {},
    "RefinedWebModel": {},
    "RefinedWeb": {"new_decoder_architecture": True},
}
"""What the first releases of Falcon (7B and rw, then 40B) called themselves, and what they left unsaid."""


def as_known_today(config: Mapping[str, Json]) -> dict[str, Json]:
    """Give a config.json in the names of today: the first Falcons had names of their own, which would be read past."""
    unsaid = _FIRST_FALCONS.get(str(config.get("model_type")))
    if unsaid is None:
        return dict(config)
    named = {_FALCON_NAMES.get(key, key): value for key, value in config.items()}
    return unsaid | named | {"model_type": "falcon"}


def find(model_type: object) -> Architecture | None:
    """Give the family that config.json's `model_type` names."""
    return next((one for one in ARCHITECTURES if one.model_type == model_type), None)
