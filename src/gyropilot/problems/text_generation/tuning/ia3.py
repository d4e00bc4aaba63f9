"""IA3: a trained factor for each result of a block's linear layers, or each input of its last one; built by PEFT.

Liu et al. 2022, "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning": it scales
keys, values and what comes out of the MLP's activation. Here every linear layer of the blocks has factors unless
targets are named, which are still few: 0.1 % of the weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from peft import IA3Config

from gyropilot.problems.text_generation.models import LoadedModel
from gyropilot.problems.text_generation.tuning import wrapping
from gyropilot.problems.text_generation.tuning.wrapping import Folded

_AFTER_ACTIVATION = ("down_proj", "dense_4h_to_h", "wo")
"""Last names of the layers that read what the MLP's activation gives: their inputs are scaled."""


@dataclass(frozen=True, kw_only=True)
class Ia3(Folded):
    """IA3's settings; the factors begin at 1."""

    targets: tuple[str, ...] = ()
    """Last names of the layers to scale; empty: every linear layer of the blocks."""
    name: str = "IA3"

    def attach(self, loaded: LoadedModel, *, seed: int) -> torch.nn.Module:
        """Give the base with factors; nothing is drawn."""
        targets = wrapping.linear_targets(loaded, self.targets)
        config = IA3Config(
            target_modules=targets,
            feedforward_modules=[one for one in targets if one in _AFTER_ACTIVATION],
            task_type=wrapping.task_type(loaded),
        )
        return wrapping.wrap(loaded, config, seed=seed)
