"""Turns a Llama-type GGUF file into a folder that transformers loads; run as a child process by `wheel`.

    python -m gyropilot.base_models.conversion FILE.gguf NEW_FOLDER MODEL_NAME

Written without torch or transformers: tensor by tensor, so that memory holds one or two decoded tensors; and to the
byte the same on every machine, so that the folder's digest is known beforehand.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gyropilot.base_models import safetensors_files
from gyropilot.base_models.safetensors_files import Tensor

if TYPE_CHECKING:
    import numpy

Json = Any
GGUF = Any
"""A value of the gguf package, which ships no types."""
MAX_MEMORY_BYTES = 8 * 2**30
MAX_SECONDS = 600

_LAYER_TENSORS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_OUTER_TENSORS = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_CONTROL_TOKEN = 3
"""token_type of GGUF for tokens that stand for no text."""


def convert(source: Path, folder: Path) -> None:
    """Write config.json, generation_config.json, tokenizer files and bfloat16 weights into the new `folder`.

    Raises:
        ValueError: the file is no Llama-type model with a byte-level BPE tokenizer of the kind known here.
    """
    from gguf import GGUFReader

    reader = GGUFReader(str(source))
    facts = {name: field.contents() for name, field in reader.fields.items()}
    for name, wanted in (
        ("general.architecture", "llama"),
        ("tokenizer.ggml.model", "gpt2"),
        ("tokenizer.ggml.pre", "smollm"),
    ):
        if facts.get(name) != wanted:
            raise ValueError(f"{name} is {facts.get(name)!r}, not {wanted!r}")
    folder.mkdir(mode=0o700)
    _write_weights(reader, facts, folder / "model.safetensors")
    for name, content in {
        "config.json": _config(facts, {tensor.name for tensor in reader.tensors}),
        "generation_config.json": _generation_config(facts),
        "tokenizer.json": _tokenizer(facts),
        "tokenizer_config.json": _tokenizer_config(facts),
    }.items():
        (folder / name).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    (folder / "chat_template.jinja").write_text(facts["tokenizer.chat_template"], encoding="utf-8")


def _write_weights(reader: GGUF, facts: dict[str, Json], path: Path) -> None:
    by_name = {_name_of(tensor.name): tensor for tensor in reader.tensors}
    tensors = [
        # GGUF writes the fastest axis first
        Tensor(name=name, dtype="BF16", shape=tuple(int(size) for size in reversed(by_name[name].shape)))
        for name in sorted(by_name)
    ]
    heads = {
        "q_proj": facts["llama.attention.head_count"],
        "k_proj": facts["llama.attention.head_count_kv"],
    }

    def data_of(tensor: Tensor) -> bytes:
        from gguf.quants import dequantize

        source = by_name[tensor.name]
        values = dequantize(source.data, source.tensor_type).reshape(tensor.shape)
        for part, count in heads.items():
            if tensor.name.endswith(f"{part}.weight"):
                values = _halves_apart(values, count)
        return _bfloat16(values)

    safetensors_files.write(path, tensors, data_of, {"format": "pt"})


def _name_of(gguf_name: str) -> str:
    if gguf_name in _OUTER_TENSORS:
        return _OUTER_TENSORS[gguf_name]
    parts = gguf_name.split(".")
    if len(parts) == 4 and parts[0] == "blk" and parts[2] in _LAYER_TENSORS and parts[3] == "weight":
        return f"model.layers.{int(parts[1])}.{_LAYER_TENSORS[parts[2]]}.weight"
    raise ValueError(f"tensor {gguf_name!r} is not known")


def _halves_apart(weight: numpy.ndarray, heads: int) -> numpy.ndarray:
    """Undo GGUF's row order: it interleaves the two halves that rotary embedding pairs; shape [heads * size, input]."""
    return weight.reshape(heads, -1, 2, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def _bfloat16(values: numpy.ndarray) -> bytes:
    """Give finite float32 values as little-endian bfloat16, rounded to nearest, ties to even."""
    import numpy as np

    bits = np.ascontiguousarray(values, dtype="<f4").view("<u4")
    if not np.isfinite(values).all():
        raise ValueError("a weight is not finite")
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    return bytes(((bits + np.uint32(0x7FFF) + odd) >> np.uint32(16)).astype("<u2").tobytes())


def _config(facts: dict[str, Json], tensors: set[str]) -> dict[str, Json]:
    heads = facts["llama.attention.head_count"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(facts["tokenizer.ggml.tokens"]),
        "hidden_size": facts["llama.embedding_length"],
        "intermediate_size": facts["llama.feed_forward_length"],
        "num_hidden_layers": facts["llama.block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": facts["llama.attention.head_count_kv"],
        "head_dim": facts["llama.embedding_length"] // heads,
        "max_position_embeddings": facts["llama.context_length"],
        "rms_norm_eps": round(facts["llama.attention.layer_norm_rms_epsilon"], 10),
        "rope_parameters": {"rope_type": "default", "rope_theta": facts["llama.rope.freq_base"]},
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": "output.weight" not in tensors,
        "dtype": "bfloat16",
        **_token_ids(facts),
    }


def _generation_config(facts: dict[str, Json]) -> dict[str, Json]:
    return _token_ids(facts)


def _token_ids(facts: dict[str, Json]) -> dict[str, Json]:
    return {
        "bos_token_id": facts["tokenizer.ggml.bos_token_id"],
        "eos_token_id": facts["tokenizer.ggml.eos_token_id"],
        "pad_token_id": facts["tokenizer.ggml.padding_token_id"],
    }


def _tokenizer(facts: dict[str, Json]) -> dict[str, Json]:
    """Byte-level BPE that takes each digit alone, as the pre-tokenizer named `smollm` does."""
    tokens: list[str] = facts["tokenizer.ggml.tokens"]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": number, "content": token, **flags}
            for number, (token, kind) in enumerate(zip(tokens, facts["tokenizer.ggml.token_type"], strict=True))
            if kind == _CONTROL_TOKEN
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level],
        },
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in facts["tokenizer.ggml.merges"]],
        },
    }


def _tokenizer_config(facts: dict[str, Json]) -> dict[str, Json]:
    tokens = facts["tokenizer.ggml.tokens"]
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": facts["llama.context_length"],
        "bos_token": tokens[facts["tokenizer.ggml.bos_token_id"]],
        "eos_token": tokens[facts["tokenizer.ggml.eos_token_id"]],
        "pad_token": tokens[facts["tokenizer.ggml.padding_token_id"]],
        "unk_token": tokens[facts["tokenizer.ggml.unknown_token_id"]],
        "clean_up_tokenization_spaces": False,
    }


def _main(source: str, folder: str) -> None:
    _limit(resource.RLIMIT_AS, MAX_MEMORY_BYTES)
    _limit(resource.RLIMIT_CPU, MAX_SECONDS)
    _limit(resource.RLIMIT_CORE, 0)
    convert(Path(source), Path(folder))


def _limit(kind: int, most: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard == resource.RLIM_INFINITY or most < hard:
        resource.setrlimit(kind, (most, most))


if __name__ == "__main__":
    _main(*sys.argv[1:])
