"""The loss: cross-entropy at labelled positions only, in chunks of rows, summed in float32; called by the loop."""

from __future__ import annotations

from typing import Any, cast

import torch

CHUNK_ELEMENTS = 1 << 22
"""Logits held at a time: 16 MiB in float32."""


def label_loss_sum(hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Sum of -log p(label) over L positions, in float32, without ever holding all logits.

    Args:
        hidden: [L, hidden], what the final norm gave, at the positions that predict a label.
        weight: [vocabulary, hidden], of the head; may be frozen or trained, and wider than `hidden`, whose precision
            the products then have.
        labels: [L] int64.

    Gradients flow to `hidden` and, where it asks for them, to `weight`; they are made in the forward pass, chunk by
    chunk, so that logits are computed once.
    """
    return cast(torch.Tensor, _LabelLoss.apply(hidden, weight, labels))  # type: ignore[no-untyped-call]


# torch gives its context object no type.
class _LabelLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        hidden: torch.Tensor,
        weight: torch.Tensor,
        labels: torch.Tensor,
    ) -> torch.Tensor:
        needs_hidden, needs_weight = ctx.needs_input_grad[:2]
        rows = max(1, CHUNK_ELEMENTS // weight.shape[0])
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        grad_hidden = torch.empty_like(hidden) if needs_hidden else None
        master, weight = weight, weight.to(hidden.dtype)
        # Sums of a trained head's gradient in bfloat16 would lose small terms.
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if needs_weight else None
        for start in range(0, len(labels), rows):
            part, wanted = hidden[start : start + rows], labels[start : start + rows, None]
            logits = (part @ weight.t()).float()
            log_total = torch.logsumexp(logits, dim=-1, keepdim=True)
            total += (log_total - logits.gather(1, wanted)).sum()
            if grad_hidden is None and grad_weight is None:
                continue
            gradient = logits.sub_(log_total).exp_()
            gradient.scatter_add_(1, wanted, gradient.new_full(wanted.shape, -1.0))
            gradient = gradient.to(weight.dtype)
            if grad_hidden is not None:
                torch.mm(gradient, weight, out=grad_hidden[start : start + rows])
            if grad_weight is not None:
                grad_weight += (gradient.t() @ part).float()
        ctx.save_for_backward(grad_hidden, grad_weight)
        ctx.weight_dtype = master.dtype
        return total

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401
        grad_output: torch.Tensor,
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        return (
            None if grad_hidden is None else grad_hidden * grad_output.to(grad_hidden.dtype),
            None if grad_weight is None else grad_weight.mul_(grad_output).to(ctx.weight_dtype),
            None,
        )
