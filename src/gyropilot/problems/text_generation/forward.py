"""Ways from a pack to the summed loss of its labels; the loop picks one and checks it against the plain one.

The plain way runs the model's own code with a block mask and works for every supported architecture and device.
`layers.py` holds the fast way for Llama-type models on a CPU.
"""

from __future__ import annotations

from typing import Protocol

import torch

from gyropilot.problems.text_generation.batches import Pack
from gyropilot.problems.text_generation.head import label_loss_sum
from gyropilot.problems.text_generation.models import body_of, head_of


class Forward(Protocol):
    """One way to compute a pack."""

    name: str

    def loss_sum(self, pack: Pack) -> torch.Tensor:
        """Give the sum of -log p(label) over the labels of `pack`: a float32 scalar that can be differentiated."""

    def refresh(self) -> None:
        """Hear that the trained parameters have changed."""


class PlainForward:
    """The model's own forward under a dense block mask."""

    name = "plain"

    def __init__(self, model: torch.nn.Module) -> None:
        self._body = body_of(model)
        self._head = head_of(model)

    def loss_sum(self, pack: Pack) -> torch.Tensor:
        """Give the summed loss through the model's own code."""
        device = self._head.weight.device
        visible = torch.from_numpy(pack.visible()).to(device)
        output = self._body(
            input_ids=torch.from_numpy(pack.input_ids)[None].to(device),
            position_ids=torch.from_numpy(pack.position_ids)[None].to(device),
            attention_mask=visible[None, None],
            use_cache=False,
        )
        hidden = output.last_hidden_state[0, torch.from_numpy(pack.label_positions).to(device)]
        return label_loss_sum(hidden, self._head.weight, torch.from_numpy(pack.labels).to(device))

    def refresh(self) -> None:
        """Nothing is kept between packs."""
