"""Ways from a pack to the summed loss of its labels; the loop takes the fastest that agrees with the plain one.

`plain.py` runs the model's own code and works for every supported architecture and device. `layers.py` holds the fast
way for Llama-type models on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, Protocol

import torch

from gyropilot.problems.text_generation import batches, layers, virtual_tokens
from gyropilot.problems.text_generation.architectures import Layout
from gyropilot.problems.text_generation.batches import Example, Pack
from gyropilot.problems.text_generation.models import DtypeName, head_of, trainable_parameters
from gyropilot.problems.text_generation.plain import PlainForward

_CHECKED_EXAMPLES = 3
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.15}
"""Largest relative difference of losses, and of gradients as vectors: rounding, far below what a wrong mask gives."""
_ROWS_SLACK = 3.0
"""As many times as large may the difference of gradients of virtual tokens be in bfloat16: they come through every
block, and the plain way itself is 0.12 off its own float32 there (SmolLM2-135M)."""


class Forward(Protocol):
    """One way to compute a pack."""

    name: str
    layout: Layout
    """How it wants examples put into packs."""
    is_parallel: bool
    """Whether threads may compute packs at the same time, with results that do not depend on their timing."""
    virtual_tokens: int
    """Places that it computes besides the tokens, before each text that it computes."""

    def loss_sum(self, pack: Pack) -> torch.Tensor:
        """Give the sum of -log p(label) over the labels of `pack`: a float32 scalar that can be differentiated."""

    def refresh(self) -> None:
        """Hear that the trained parameters have changed."""


def choose(
    model: torch.nn.Module,
    examples: Sequence[Example],
    *,
    check: Literal["loss", "gradients"],
    precision: DtypeName,
) -> tuple[Forward, str]:
    """Give the fastest way that, on a few short examples, packed, agrees with the model itself, one by one.

    It agrees in the loss and, for training, in the gradients. Weights of float32 are computed with in `precision`.

    The second value says why it is not a faster one; empty where it is the fastest. The state of the random
    generator and the model are left as they were.

    Raises:
        ValueError: even the plain way differs: this model must not be packed.
    """
    sample = sorted((examples[index] for index in range(min(64, len(examples)))), key=lambda one: one.length)
    sample = [one for one in sample if one.task == sample[0].task][:_CHECKED_EXAMPLES]
    with _shaken(model), virtual_tokens.as_leaves(model, task=sample[0].task) as rows:
        parameters = (rows or trainable_parameters(model)) if check == "gradients" else {}
        reason = _why_not_fast(model, sample, parameters, precision=precision)
    # Made anew, for the ways that were compared hold what was moved meanwhile.
    return (PlainForward(model, precision=precision), reason) if reason else (layers.FusedForward(model), "")


def _why_not_fast(
    model: torch.nn.Module, sample: list[Example], parameters: Mapping[str, torch.Tensor], *, precision: DtypeName
) -> str:
    """Say why `model` does not go the fast way; raises ValueError where not even the plain one may pack."""
    dtype = torch.bfloat16 if precision == "bfloat16" else head_of(model).weight.dtype
    tolerance, labels = _TOLERANCE[dtype], sum(len(one.answer_ids) for one in sample)
    slack = _ROWS_SLACK if dtype == torch.bfloat16 and virtual_tokens.of(model) else 1.0
    plain = PlainForward(model, precision=precision)
    wanted = _measured(plain, parameters, [batches.pack([one]) for one in sample])
    if not wanted[""].isfinite():
        return "the model's own loss is not finite"
    reason = layers.why_not(model)
    if not reason:
        found = _measured(layers.FusedForward(model), parameters, [batches.pack(sample)])
        off = _difference(found, wanted, labels, slack=slack)
        if not off <= tolerance:
            reason = f"the fast way differs from the plain one by {off:.2g}"
    if reason:
        together = batches.pack(sample, start="shared" if plain.layout == "packed" else "each its own")
        off = _difference(_measured(plain, parameters, [together]), wanted, labels, slack=slack)
        if not off <= tolerance:
            raise ValueError(f"packed rows differ from single ones by {off:.2g}")
    return reason


@contextmanager
def _shaken(model: torch.nn.Module) -> Iterator[None]:
    """Move adapters a little meanwhile: a fresh LoRA's B is zero, which would hide A's gradient.

    Virtual tokens begin where they have gradients, and stay.
    """
    trained = trainable_parameters(model)
    parameters = {name: one for name, one in trained.items() if ".lora_" in name}
    before = {name: one.detach().clone() for name, one in parameters.items()}
    generator_state, was_training = torch.get_rng_state(), model.training
    generator = torch.Generator().manual_seed(0)
    model.eval()
    try:
        for one in parameters.values():
            one.data += 0.005 * torch.randn(one.shape, generator=generator).to(one.device, one.dtype)
        yield
    finally:
        for name, one in parameters.items():
            one.data.copy_(before[name])
        for one in trained.values():
            one.grad = None
        torch.set_rng_state(generator_state)
        model.train(was_training)


def _measured(
    forward: Forward, parameters: Mapping[str, torch.Tensor], packs: Sequence[Pack]
) -> dict[str, torch.Tensor]:
    """Give the loss and the gradients of `parameters`."""
    total = torch.zeros(())
    for pack in packs:
        with torch.set_grad_enabled(bool(parameters)):
            loss = forward.loss_sum(pack)
        if parameters:
            loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach().cpu()
    found = {"": total}
    for name, one in parameters.items():
        if one.grad is not None:
            found[name], one.grad = one.grad, None
    return found


def _difference(
    found: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor], labels: int, *, slack: float = 1.0
) -> float:
    """Give the larger of the relative differences of loss and, over `slack`, of all gradients taken as one vector.

    A model that knows its rows by heart has a loss of nearly nothing, so a loss counts as at least 0.1 a label.
    """
    if found.keys() != wanted.keys():
        return float("inf")
    loss = float((found[""] - wanted[""]).abs() / wanted[""].abs().clamp(min=0.1 * labels))
    names = [name for name in wanted if name]
    if not names:
        return loss
    off = sum(float((found[name].float() - wanted[name].float()).square().sum()) for name in names)
    size = sum(float(wanted[name].float().square().sum()) for name in names)
    return max(loss, math.sqrt(off / max(size, 1e-30)) / slack)
