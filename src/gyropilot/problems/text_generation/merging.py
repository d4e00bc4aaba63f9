"""Folds what was trained into the base, and says how the model changed by it; called by training_run."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict

import torch

from gyropilot.problems.contract import Reporter
from gyropilot.problems.text_generation import batches
from gyropilot.problems.text_generation.batches import Example
from gyropilot.problems.text_generation.generation import first_logits
from gyropilot.problems.text_generation.models import DtypeName
from gyropilot.problems.text_generation.plain import PlainForward
from gyropilot.problems.text_generation.summary import MergeCheck
from gyropilot.problems.text_generation.tuning.method import Method

_CHECKED_LABELS = 400
"""The merge is checked on as many rows as have these; on fewer labels the rounding of single logits is all one sees."""
_CHECKED_ROWS = 32
_MERGE_TOLERANCE = 0.05
"""Loss change by merging from which an event speaks of it."""


def merged(
    method: Method, tuned: torch.nn.Module, validation: Sequence[Example], *, dtype: DtypeName, reporter: Reporter
) -> tuple[torch.nn.Module, MergeCheck]:
    """Give the model in `dtype` with what was trained in it, and how it changed on the first validation rows.

    `tuned` is used up.
    """
    examples = _checked_rows(validation)
    loss_before, logits_before = _loss(tuned, examples), _logits(tuned, validation)
    model = method.merge(tuned, dtype=dtype)
    check = MergeCheck(
        rows=len(examples),
        labels=sum(len(one.answer_ids) for one in examples),
        loss_before=loss_before,
        loss_after=_loss(model, examples),
        largest_logit_change=float((_logits(model, validation) - logits_before).abs().max()),
    )
    if check.labels >= _CHECKED_LABELS and abs(check.loss_after - check.loss_before) > _MERGE_TOLERANCE:
        exact = "; the adapter itself is exact" if method.saves_adapter else ""
        message = (
            f"rounding the tuned weights to {dtype} changed the loss of {check.rows} rows from"
            f" {check.loss_before:.3f} to {check.loss_after:.3f}; the metrics are of the rounded model{exact}"
        )
        reporter.event("merge", message, detail=asdict(check))
    return model, check


def _checked_rows(validation: Sequence[Example]) -> list[Example]:
    """Give the first validation rows, until they have enough labels."""
    rows: list[Example] = []
    labels = 0
    for one in itertools.islice(validation, _CHECKED_ROWS):
        rows.append(one)
        labels += len(one.answer_ids)
        if labels >= _CHECKED_LABELS:
            break
    return rows


def _logits(model: torch.nn.Module, validation: Sequence[Example]) -> torch.Tensor:
    """Give [vocabulary]: the logits after the first validation row's prompt, in float32."""
    return first_logits(model, validation[0].prompt_ids.tolist())


@torch.inference_mode()
def _loss(model: torch.nn.Module, examples: Sequence[Example]) -> float:
    """Give the mean loss of a label, each row computed alone by the model's own code."""
    way = PlainForward(model)
    total = sum(float(way.loss_sum(batches.pack([one]))) for one in examples)
    return total / sum(len(one.answer_ids) for one in examples)
