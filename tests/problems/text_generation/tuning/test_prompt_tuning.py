"""Rows before the text are trained, and nothing else; where they begin, and what is kept of them."""

from __future__ import annotations

import torch

from gyropilot.problems.text_generation import loop
from gyropilot.problems.text_generation.models import trainable_parameters
from gyropilot.problems.text_generation.tuning.prompt_tuning import PromptTuning


def train(tiny, folder, method, *, kind="llama", stop_after=None, **plan):
    model = method.attach(tiny.loaded(kind), seed=11)
    outcome = loop.train(
        model,
        tiny.examples(24),
        tiny.plan(**plan),
        checkpoints=folder,
        reporter=tiny.listener(stop_after=stop_after),
        deadline=None,
        checkpoint_seconds=1e9,
        on_step=lambda record: None,
    )
    return model, outcome


def test_the_loss_falls_and_the_base_stays_as_it_was(tiny, kind, tmp_path):
    model, outcome = train(tiny, tmp_path, PromptTuning(num_virtual_tokens=6), kind=kind, epochs=10, learning_rate=0.03)
    assert list(trainable_parameters(model)) == ["prompt.embedding.weight"]
    assert outcome.forward == ("fused" if kind == "llama" else "plain")
    assert outcome.losses[-1] < outcome.losses[0] - 0.2
    wanted = tiny.loaded(kind).model.state_dict()
    assert all(torch.equal(one, wanted[name]) for name, one in model.base.state_dict().items())
