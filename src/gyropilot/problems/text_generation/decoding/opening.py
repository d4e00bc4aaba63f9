"""Opens a model folder with the fastest decoder that computes it; called by the scheduler."""

from __future__ import annotations

from pathlib import Path

from gyropilot.problems.text_generation.decoding.decoder import Decoder
from gyropilot.problems.text_generation.decoding.plain_decoder import PlainDecoder
from gyropilot.problems.text_generation.models import DtypeName


def open_decoder(folder: Path, *, dtype: DtypeName) -> Decoder:
    """Load a model folder.

    Raises:
        TrainingFailed: the folder holds no model of a family known here.
    """
    return PlainDecoder(folder, dtype=dtype)
