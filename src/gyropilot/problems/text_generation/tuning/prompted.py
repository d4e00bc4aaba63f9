"""A frozen base with trained rows before its texts: what the methods of virtual tokens give to the loop."""

from __future__ import annotations

import torch

from gyropilot.problems.text_generation.virtual_tokens import VirtualTokens


class Prompted(torch.nn.Module):
    """A base and its virtual tokens; every way to compute asks `virtual_tokens.of` for them.

    The names of its trained parameters begin with `prompt.`.
    """

    def __init__(self, base: torch.nn.Module, prompt: torch.nn.Module, tokens: VirtualTokens) -> None:
        """Take a frozen base, the module that holds the trained parameters, and the rows as they come out of it."""
        super().__init__()
        self.base, self.prompt = base, prompt
        self.virtual_tokens = tokens

    def get_base_model(self) -> torch.nn.Module:
        """Give the base, as PEFT's wrappers do."""
        return self.base
