"""The metrics of text generation: what each number is, which way is better, where it comes from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Direction = Literal["Maximize", "Minimize"]


@dataclass(frozen=True, kw_only=True)
class GenerationMetric:
    """One metric; `name` is its StandardMetricName on the wire."""

    name: str
    direction: Direction
    formula: str
    source: str


_CROSS_ENTROPY = "sum of -log p(token) over the answers' tokens, their end included, divided by the number of tokens"
_LIN = "Lin 2004, as rouge-score 0.1.2 computes it without stemming; mean of the pairs' F-measures, 0 to 1"

METRICS: tuple[GenerationMetric, ...] = (
    GenerationMetric(
        name="TrainingLoss",
        direction="Minimize",
        formula=_CROSS_ENTROPY,
        source="measured while training, on the last epoch",
    ),
    GenerationMetric(
        name="ValidationLoss",
        direction="Minimize",
        formula=_CROSS_ENTROPY,
        source="measured on the validation rows after training, on as many as a stop or the time limit leaves time for",
    ),
    GenerationMetric(
        name="Perplexity", direction="Minimize", formula="exp(ValidationLoss)", source="the validation rows"
    ),
    GenerationMetric(name="Rouge1", direction="Maximize", formula="overlap of words", source=_LIN),
    GenerationMetric(name="Rouge2", direction="Maximize", formula="overlap of pairs of words", source=_LIN),
    GenerationMetric(name="RougeL", direction="Maximize", formula="longest common subsequence of words", source=_LIN),
    GenerationMetric(
        name="RougeLSum",
        direction="Maximize",
        formula="union of the longest common subsequences of lines, a word counted as often as both sides have it",
        source=_LIN,
    ),
)


def cross_entropy(loss_sum: float, label_count: int) -> float:
    """Give the mean loss of a token in nats, smaller is better.

    Args:
        loss_sum: negative log-likelihoods, summed over labelled tokens.
        label_count: how many these are.

    Raises:
        ValueError: there are none, so there is no mean.
    """
    if label_count <= 0:
        raise ValueError("cross-entropy over no labelled token")
    return loss_sum / label_count


def perplexity(loss: float) -> float:
    """Give exp(loss) of a mean token loss in nats; 1 is perfect, smaller is better; infinite where exp overflows."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf
