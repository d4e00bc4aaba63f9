"""Opens a model folder with the fastest decoder that computes it; called by the scheduler."""

from __future__ import annotations

import ctypes
from pathlib import Path

import torch

from gyropilot.problems.text_generation.decoding.decoder import Decoder
from gyropilot.problems.text_generation.decoding.llama_decoder import LlamaDecoder
from gyropilot.problems.text_generation.decoding.llama_weights import Weights, read_config, why_not
from gyropilot.problems.text_generation.hardware import Dtype


def open_decoder(folder: Path, *, dtype: Dtype) -> Decoder:
    """Load a model folder.

    Raises:
        TrainingFailed: the folder holds no model of a family known here.
    """
    decoder = _opened(folder, dtype)
    give_back_freed_memory()
    return decoder


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
