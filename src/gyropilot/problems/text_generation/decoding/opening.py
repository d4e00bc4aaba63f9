"""Opens a model folder with the fastest decoder that computes it; called by the scheduler."""

from __future__ import annotations

import ctypes
import math
from pathlib import Path

import torch
from safetensors import SafetensorError

from gyropilot.problems.text_generation.decoding.decoder import Decoder
from gyropilot.problems.text_generation.decoding.llama_decoder import LlamaDecoder
from gyropilot.problems.text_generation.decoding.llama_weights import Weights, read_config, why_not
from gyropilot.problems.text_generation.training_memory import Dtype


def open_decoder(folder: Path, *, dtype: Dtype) -> Decoder:
    """Load a model folder.

    Raises:
        TrainingFailed: the folder holds no model of a family known here.
    """
    decoder = _opened(folder, dtype)
    give_back_freed_memory()
    return decoder


def weight_bytes(folder: Path, *, dtype: Dtype) -> int:
    """Give the memory of a model folder's weights once they are loaded, from the heads of its files alone.

    Gives 0 for a folder that cannot be read; opening it says what is wrong.
    """
    width = getattr(torch, dtype).itemsize
    try:
        config = read_config(folder)
        with Weights(folder) as weights:
            sizes = {name: math.prod(weights.shape(name)) for name in weights.names}
            is_fused = not torch.cuda.is_available() and not why_not(config, weights.names)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return 0
    # the fast way keeps a tied embedding twice: to look tokens up in, and as the head
    twice = is_fused and config.get("tie_word_embeddings") and "lm_head.weight" not in sizes
    return int(width) * (sum(sizes.values()) + (sizes["model.embed_tokens.weight"] if twice else 0))


def _opened(folder: Path, dtype: Dtype) -> Decoder:
    if not torch.cuda.is_available():
        config = read_config(folder)
        with Weights(folder) as weights:
            if not why_not(config, weights.names):
                return LlamaDecoder(config, weights, dtype=getattr(torch, dtype))
    # transformers takes seconds to import, which the fast way saves
    from gyropilot.problems.text_generation.decoding.plain_decoder import PlainDecoder

    return PlainDecoder(folder, dtype=dtype)


def give_back_freed_memory() -> None:
    """Give the system what was freed: glibc keeps 200 MiB of SmolLM2-135M, weights in other orders, after a load."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return
