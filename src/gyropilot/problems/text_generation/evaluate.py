"""Measures a model on the validation rows: loss and perplexity on all of them, generated answers and ROUGE on a sample.

The base and the tuned model are measured by the same code on the same rows, so that their numbers can be compared.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from gyropilot import clock
from gyropilot.metrics import generation as metrics
from gyropilot.metrics import rouge
from gyropilot.metrics.rouge import Mode, RougeScores
from gyropilot.problems.contract import Json, Reporter
from gyropilot.problems.text_generation.batches import Example
from gyropilot.problems.text_generation.data import read_prepared_rows
from gyropilot.problems.text_generation.generation import Answer, generate
from gyropilot.problems.text_generation.loop import TrainPlan, evaluate_loss
from gyropilot.problems.text_generation.templates import Encoder

MAX_SAMPLE_ROWS = 128
"""Most rows that are answered; the loss is taken over all."""
MAX_NEW_TOKENS = 512
BATCH_ROWS = 32
_LENGTH_PERCENTILE = 95
_SCORES = ("rouge1", "rouge2", "rougeL", "rougeLsum")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One validation row, answered."""

    row: int
    """Example.row: the row's number among the usable ones."""
    place: str
    input: str
    reference: str
    answer: str
    is_ended: bool
    """The model ended the answer by itself."""
    scores: Mapping[str, float]
    """ROUGE F-measures of this answer: rouge1, rouge2, rougeL, rougeLsum."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What was measured of one model."""

    loss: float
    """Mean negative log-likelihood of an answer token in nats, over all validation rows."""
    labels: int
    rows: int
    mode: Mode
    """How ROUGE found words."""
    max_new_tokens: int
    samples: tuple[Sample, ...]
    seconds: float

    @property
    def perplexity(self) -> float:
        """exp(loss), as large as a float goes."""
        return min(metrics.perplexity(self.loss), sys.float_info.max)

    def score(self, name: str) -> float:
        """Give the sample's mean of one ROUGE score."""
        return math.fsum(one.scores[name] for one in self.samples) / len(self.samples)

    def margin(self, name: str) -> float:
        """Give half the width of the mean's 95 % confidence interval, normal approximation; 0 if all rows were taken."""
        count = len(self.samples)
        if count < 2 or count == self.rows:
            return 0.0
        values = [one.scores[name] for one in self.samples]
        left_out = (self.rows - count) / (self.rows - 1)
        return 1.96 * float(np.std(values, ddof=1)) * math.sqrt(left_out / count)

    @property
    def ended_share(self) -> float:
        """Share of the answers that the model ended by itself."""
        return sum(one.is_ended for one in self.samples) / len(self.samples)

    def to_json(self) -> dict[str, Json]:
        """Give the evaluation as JSON values, read back by `read_evaluation`."""
        return asdict(self)


def read_evaluation(values: Mapping[str, Json]) -> Evaluation:
    """Read what `Evaluation.to_json` gave."""
    return Evaluation(**{**values, "samples": tuple(Sample(**one) for one in values["samples"])})


class Evaluator:
    """Measures models on one job's validation rows."""

    def __init__(
        self, validation: Sequence[Example], prepared: Path, encoder: Encoder, plan: TrainPlan, reporter: Reporter
    ) -> None:
        self._validation, self._encoder, self._plan, self._reporter = validation, encoder, plan, reporter
        self._sample = _sample(validation, seed=plan.seed)
        self._rows = read_prepared_rows(prepared, (one.row for one in self._sample))
        self._mode = rouge.choose_mode(row.output for row in self._rows.values())
        lengths = [len(one.answer_ids) for one in validation]
        longest = int(np.percentile(lengths, _LENGTH_PERCENTILE, method="higher"))
        self.max_new_tokens = min(MAX_NEW_TOKENS, longest)

    def evaluate(self, model: torch.nn.Module, *, phase: str, seconds: float, sample_rows: int | None) -> Evaluation:
        """Measure `model`.

        Args:
            model: in evaluation mode, on its device.
            phase: what progress calls it, as "evaluating base".
            seconds: budget of the answers; at least one batch is answered.
            sample_rows: how many rows to answer, whatever the time; None: as many as fit the budget.
        """
        started = clock.monotonic()
        sample = self._sample if sample_rows is None else self._sample[:sample_rows]
        total = len(self._validation) + len(sample)

        def report(done: int, of: int) -> None:
            self._reporter.progress(phase, done=done, total=total, unit="rows")

        loss = evaluate_loss(model, self._validation, self._plan, on_progress=report)
        deadline = None if sample_rows is not None else clock.monotonic() + seconds
        samples = self._answered(model, sample, deadline, phase)
        return Evaluation(
            loss=metrics.cross_entropy(loss.loss_sum, loss.label_count),
            labels=loss.label_count,
            rows=len(self._validation),
            mode=self._mode,
            max_new_tokens=self.max_new_tokens,
            samples=tuple(samples),
            seconds=clock.monotonic() - started,
        )

    def _answered(
        self, model: torch.nn.Module, sample: Sequence[Example], deadline: float | None, phase: str
    ) -> list[Sample]:
        """Answer the sample batch by batch; with a deadline, while the next batch is likely to end before it."""
        samples: list[Sample] = []
        longest = 0.0
        for start in range(0, len(sample), BATCH_ROWS):
            began = clock.monotonic()
            if samples and deadline is not None and began + longest > deadline:
                break
            samples += self._answered_batch(model, sample[start : start + BATCH_ROWS])
            longest = max(longest, clock.monotonic() - began)
            done = len(self._validation) + len(samples)
            total = len(self._validation) + len(sample)
            self._reporter.progress(phase, done=done, total=total, unit="rows")
        return samples

    def _answered_batch(self, model: torch.nn.Module, examples: Sequence[Example]) -> list[Sample]:
        by_length = sorted(examples, key=lambda one: len(one.prompt_ids))
        answers: dict[int, Answer] = {}
        for group in _halves(by_length):
            found = generate(
                model,
                [one.prompt_ids.tolist() for one in group],
                stop_ids=self._encoder.template.stop_ids,
                max_new_tokens=self.max_new_tokens,
            )
            answers |= {one.row: answer for one, answer in zip(group, found, strict=True)}
        return [self._sample_of(one.row, answers[one.row]) for one in examples]

    def _sample_of(self, number: int, answer: Answer) -> Sample:
        row = self._rows[number]
        text = self._encoder.text(answer.token_ids)
        return Sample(
            row=number,
            place=row.place,
            input=row.input,
            reference=row.output,
            answer=text,
            is_ended=answer.is_ended,
            scores=_scores(rouge.score(text, row.output, self._mode)),
        )


def _sample(validation: Sequence[Example], *, seed: int) -> list[Example]:
    """Give up to MAX_SAMPLE_ROWS validation rows, drawn at random, in the order in which they are answered."""
    order = np.random.Generator(np.random.PCG64([seed, 0xE7A1])).permutation(len(validation))
    return [validation[int(number)] for number in order[:MAX_SAMPLE_ROWS]]


def _halves(by_length: Sequence[Example]) -> list[Sequence[Example]]:
    """Give the batch whole, or apart where its prompts differ much in length: padding costs what text costs."""
    lengths = [len(one.prompt_ids) for one in by_length]
    middle = len(by_length) // 2
    if middle < 4 or lengths[-1] < 2 * lengths[middle - 1]:
        return [by_length]
    return [by_length[:middle], by_length[middle:]]


def _scores(scores: RougeScores) -> dict[str, float]:
    return {name: getattr(scores, name) for name in _SCORES}
