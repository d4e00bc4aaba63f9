"""Full fine-tuning: every weight of the model is trained.

The trained weights are float32, and so are their gradients and the optimizer's moments, whatever the machine computes
fastest in: a step of AdamW moves a weight by about the learning rate, 5e-5, while bfloat16 numbers near 0.05 lie 2e-4
apart, so that nearly every step would be rounded away. The products of forward and backward pass are computed in
bfloat16 where that is faster (autocast), which is where the time goes. The finished model is rounded once to the
precision that it will be served in.

Weights that stand in two places (an embedding that is the head too) are one parameter, with the gradients of both.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from gyropilot.problems.text_generation.models import DTYPES, DtypeName, LoadedModel


@dataclass(frozen=True, kw_only=True)
class Full:
    """Full fine-tuning; it has no settings."""

    name: str = "FULL"

    @property
    def saves_adapter(self) -> bool:
        """Give false: what was trained is the whole model."""
        return False

    @property
    def merges(self) -> bool:
        """Give true."""
        return True

    def base_dtype(self, fastest: DtypeName) -> DtypeName:
        """Give float32: a base stored in float32 must not be rounded before it is trained."""
        return "float32"

    def attach(self, loaded: LoadedModel, *, seed: int) -> torch.nn.Module:
        """Give the base itself, every weight trained; nothing is drawn, dropout has the seed."""
        torch.manual_seed(seed)
        return loaded.model.float().requires_grad_(requires_grad=True)

    def save(self, tuned: torch.nn.Module, folder: Path) -> None:
        """Raise: what was trained is the whole model, which `merge` gives."""
        raise NotImplementedError

    def merge(self, tuned: torch.nn.Module, *, dtype: DtypeName) -> torch.nn.Module:
        """Round the weights once to `dtype`."""
        tuned.zero_grad(set_to_none=True)
        return tuned.requires_grad_(requires_grad=False).to(DTYPES[dtype]).eval()
