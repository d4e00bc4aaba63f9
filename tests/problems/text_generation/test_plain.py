"""Rows computed together give the loss and gradients of each row alone, and that is the loss of transformers itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tiny_models
from gyropilot.problems.text_generation import batches, models
from gyropilot.problems.text_generation.batches import Example
from gyropilot.problems.text_generation.models import trainable_parameters
from gyropilot.problems.text_generation.plain import PlainForward
from gyropilot.problems.text_generation.tuning.lora import Lora

TOGETHER = ("falcon-7b", "falcon-40b", "falcon-rw", "mpt", "t5", "flan-t5", "mistral")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root, made = tmp_path_factory.mktemp("models"), {}

    def give(kind):
        if kind not in made:
            made[kind] = tiny_models.make(kind, root / kind)
        return made[kind]

    return give


def rows(count=7):
    draw = np.random.default_rng(3)
    return [
        Example(
            prompt_ids=np.concatenate([[5, 6, 7], draw.integers(3, 300, int(draw.integers(1, 20)))]),
            answer_ids=np.append(draw.integers(0, 300, int(draw.integers(0, 12))), 2),
            row=row,
        )
        for row in range(count)
    ]


def tuned(folder):
    """The model with an adapter that is away from its beginning, where B is zero and hides A's gradient."""
    model = Lora(rank=4).attach(models.load(folder, dtype="float32", attention="sdpa"), seed=5)
    torch.manual_seed(1)
    for one in trainable_parameters(model).values():
        one.data += 0.05 * torch.randn_like(one)
    return model


def measured(model, packs):
    way = PlainForward(model)
    total = 0.0
    for pack in packs:
        loss = way.loss_sum(pack)
        loss.backward()
        total += float(loss.detach())
    found = {name: one.grad.clone() for name, one in trainable_parameters(model).items()}
    model.zero_grad()
    return total, found


def together(model, examples):
    layout = models.layout(model)
    if layout == "packed":
        return [batches.pack(examples)]
    return list(
        batches.padded(examples, max_tokens=10_000, max_examples=99, sides=2 if layout == "encoder-decoder" else 1)
    )


@pytest.mark.parametrize("kind", TOGETHER)
def test_rows_together_give_the_loss_and_gradients_of_each_alone(folder, kind):
    model, examples = tuned(folder(kind)), rows()
    packs = together(model, examples)
    assert len(packs) == 1
    wanted, gradients = measured(model, [batches.pack([one]) for one in examples])
    found, others = measured(model, packs)
    assert found == pytest.approx(wanted, rel=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(others[name], gradient, rtol=1e-4, atol=1e-5 * float(gradient.abs().max()) + 1e-7)


@pytest.mark.parametrize(
    ("kind", "layout"),
    [("falcon-7b", "packed"), ("falcon-rw", "padded"), ("mpt", "padded"), ("t5", "encoder-decoder")],
)
def test_a_model_that_counts_places_is_not_packed(folder, kind, layout):
    assert models.layout(models.load(folder(kind), dtype="float32", attention="sdpa").model) == layout


def test_a_pack_would_be_another_text_to_a_model_that_counts_places(folder):
    model, examples = tuned(folder("mpt")), rows()
    way = PlainForward(model)
    alone = sum(float(way.loss_sum(batches.pack([one])).detach()) for one in examples)
    way.layout = "packed"
    assert abs(float(way.loss_sum(batches.pack(examples)).detach()) - alone) > 1e-3 * alone


def test_padded_packs_hold_rows_of_like_length_within_the_budget():
    examples = rows(40)
    for sides in (1, 2):
        packs = list(batches.padded(examples, max_tokens=120, max_examples=6, sides=sides))
        assert sorted(sum((pack.label_counts for pack in packs), ())) == sorted(len(one.answer_ids) for one in examples)
        assert all(len(pack.lengths) <= 6 for pack in packs)
        assert len(packs) > 5
        if sides == 1:
            assert all(len(pack.lengths) * max(pack.lengths) <= 120 for pack in packs)
            longest = [max(pack.lengths) for pack in packs]
            assert longest == sorted(longest, reverse=True)


def test_a_row_longer_than_the_budget_is_computed_alone():
    long = Example(prompt_ids=np.arange(3, 90), answer_ids=np.array([4, 2]), row=9)
    packs = list(batches.padded([*rows(3), long], max_tokens=40, max_examples=9, sides=1))
    assert packs[0].lengths == (89,)


@pytest.mark.parametrize("kind", ["falcon-7b", "mpt", "flan-t5"])
def test_trained_float32_weights_are_computed_with_in_bfloat16_where_asked(folder, kind):
    loaded = models.load(folder(kind), dtype="float32", attention="sdpa")
    loaded.model.requires_grad_(True)
    pack = together(loaded.model, rows(3))[0]
    wide = PlainForward(loaded.model).loss_sum(pack)
    narrow = PlainForward(loaded.model, precision="bfloat16").loss_sum(pack)
    assert narrow.dtype == torch.float32
    narrow.backward()
    assert narrow.item() != wide.item()
    assert narrow.item() == pytest.approx(wide.item(), rel=0.05)
    assert {one.grad.dtype for one in loaded.model.parameters() if one.grad is not None} == {torch.float32}
