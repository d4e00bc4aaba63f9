"""Model folders for these tests: a plain one made in milliseconds, to be made hostile by the test."""

import json

import numpy as np
from safetensors.numpy import save_file

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 8,
    "hidden_size": 4,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    "hidden_act": "silu",
    "tie_word_embeddings": True,
    "torch_dtype": "float32",
    "transformers_version": "4.40.0",
}
TOKENIZER = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [
        {
            "id": 7,
            "content": "</s>",
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
    ],
    "normalizer": None,
    "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": None,
    "decoder": None,
    "model": {
        "type": "WordLevel",
        "vocab": {text: number for number, text in enumerate(["a", "b", "c", "<unk>", "d", "e", "f", "</s>"])},
        "unk_token": "<unk>",
    },
}


def shapes():
    layer = "model.layers.0"
    return {
        "model.embed_tokens.weight": (8, 4),
        "model.norm.weight": (4,),
        f"{layer}.input_layernorm.weight": (4,),
        f"{layer}.post_attention_layernorm.weight": (4,),
        **{f"{layer}.self_attn.{part}_proj.weight": (4, 4) for part in "qkvo"},
        f"{layer}.mlp.gate_proj.weight": (8, 4),
        f"{layer}.mlp.up_proj.weight": (8, 4),
        f"{layer}.mlp.down_proj.weight": (4, 8),
    }


def weights():
    random = np.random.default_rng(0)
    return {name: random.normal(size=shape).astype("f4") for name, shape in shapes().items()}


def make(folder, *, config=None, tokenizer_config=None):
    folder.mkdir(parents=True)
    write(folder / "config.json", CONFIG | (config or {}))
    write(folder / "tokenizer.json", TOKENIZER)
    write(folder / "tokenizer_config.json", {"eos_token": "</s>"} | (tokenizer_config or {}))
    save_file(weights(), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def make_sharded(folder):
    make(folder)
    (folder / "model.safetensors").unlink()
    parts = sorted(weights().items())
    places = {}
    for number, shard in enumerate((parts[:5], parts[5:]), start=1):
        name = f"model-0000{number}-of-00002.safetensors"
        save_file(dict(shard), folder / name, metadata={"format": "pt"})
        places |= dict.fromkeys(dict(shard), name)
    write(folder / "model.safetensors.index.json", {"metadata": {"total_size": 0}, "weight_map": places})
    return folder


def write(path, value):
    path.write_text(json.dumps(value))
