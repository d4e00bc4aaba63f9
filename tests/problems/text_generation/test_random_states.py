from __future__ import annotations

import torch

from gyropilot.problems.text_generation import random_states


def test_what_is_drawn_after_loading_is_what_was_drawn_after_saving():
    torch.manual_seed(3)
    torch.rand(5)
    states = random_states.save([])
    wanted = torch.rand(5)
    torch.manual_seed(4)
    random_states.load(states, [0])  # an accelerator without a state is left alone
    assert torch.equal(torch.rand(5), wanted)
