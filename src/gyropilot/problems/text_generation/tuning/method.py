"""What a tuning method is: it makes the trained parts and gives them back as files; one small file each."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch

from gyropilot.problems.text_generation.models import LoadedModel


class Method(Protocol):
    """One way to tune. Frozen settings; `attach` seeds torch before it builds anything."""

    name: str

    def attach(self, loaded: LoadedModel, *, seed: int) -> torch.nn.Module:
        """Give the model to train: the base with new float32 parameters that alone require gradients."""

    def save(self, tuned: torch.nn.Module, folder: Path) -> None:
        """Write the trained parts as a folder of safetensors and JSON."""

    def merge(self, tuned: torch.nn.Module) -> torch.nn.Module:
        """Give a model of the base's own shape and dtype with the trained parts folded in; `tuned` is used up."""
