"""Folders of tiny random models, one of each family that can be tuned, all with one byte-level tokenizer."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

import services

_SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "initializer_range": 0.2}
_LLAMA = {**_SIZES, "intermediate_size": 64, "max_position_embeddings": 256, "tie_word_embeddings": False}
_FALCON = {**_SIZES, "max_position_embeddings": 256, "ffn_hidden_size": 64}
_T5 = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}

CONFIGS = {
    "llama-2": ("Llama", {**_LLAMA, "num_key_value_heads": 4}),
    "llama-2 with shared keys": ("Llama", {**_LLAMA, "num_key_value_heads": 2, "tie_word_embeddings": True}),
    "mistral": ("Mistral", {**_LLAMA, "num_key_value_heads": 2, "sliding_window": 96}),
    "qwen2": ("Qwen2", {**_LLAMA, "num_key_value_heads": 2}),
    "gpt-neox": ("GPTNeoX", {**_SIZES, "intermediate_size": 64, "max_position_embeddings": 256, "rotary_pct": 0.25}),
    "falcon-7b": ("Falcon", {**_FALCON, "multi_query": True, "parallel_attn": True}),
    "falcon-40b": ("Falcon", {**_FALCON, "new_decoder_architecture": True, "num_kv_heads": 2}),
    "falcon-rw": ("Falcon", {**_FALCON, "alibi": True, "multi_query": False, "parallel_attn": False, "bias": True}),
    "mpt": ("Mpt", {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 256, "initializer_range": 0.2}),
    "t5": ("T5", {**_T5, "feed_forward_proj": "relu", "tie_word_embeddings": True}),
    "flan-t5": ("T5", {**_T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
}
"""Each with the first part of its classes' names in transformers."""


def make(kind: str, folder: Path, **changes) -> Path:
    """Write the model of CONFIGS[kind], its sizes changed; the same bytes each time."""
    set_verbosity_error()
    disable_progress_bar()
    size, ids = services.write_tokenizer(folder)
    name, given = CONFIGS[kind]
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**{"vocab_size": size, **given, **ids, **changes})
    suffix = "ForConditionalGeneration" if name == "T5" else "ForCausalLM"
    model = getattr(transformers, name + suffix)(config)
    if kind == "flan-t5":
        # as published: a head of its own beside the embedding
        model.lm_head.weight = torch.nn.Parameter(torch.randn(size, 32) * 0.3)
    for name, one in model.named_parameters():
        if name.endswith("bias"):  # which begin as zeros, and would show no mistake
            torch.nn.init.normal_(one, std=0.2)
    model.save_pretrained(str(folder))
    return folder
