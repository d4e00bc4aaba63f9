"""Opens a model folder with the fastest decoder that computes it; called by the scheduler."""

from __future__ import annotations

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
    if not torch.cuda.is_available():
        config = read_config(folder)
        with Weights(folder) as weights:
            if not why_not(config, weights.names):
                return LlamaDecoder(config, weights, dtype=getattr(torch, dtype))
    # transformers takes seconds to import, which the fast way saves
    from gyropilot.problems.text_generation.decoding.plain_decoder import PlainDecoder

    return PlainDecoder(folder, dtype=dtype)
