"""States of the random generators that training draws from, as tensors of a checkpoint; called by the loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

_PROCESSOR = "rng"


def save(devices: Sequence[int]) -> dict[str, torch.Tensor]:
    """Give the state of the processor's generator and of each of these accelerators'."""
    return {_PROCESSOR: torch.get_rng_state(), **{_of(one): torch.cuda.get_rng_state(one) for one in devices}}


def load(states: Mapping[str, torch.Tensor], devices: Sequence[int]) -> None:
    """Set the generators as they were; an accelerator that had no part then keeps its own."""
    torch.set_rng_state(states[_PROCESSOR])
    for one in devices:
        if _of(one) in states:
            torch.cuda.set_rng_state(states[_of(one)], one)


def _of(device: int) -> str:
    return f"{_PROCESSOR}.cuda.{device}"
