"""Measures a model on the validation rows: loss and perplexity on all of them, generated answers and ROUGE on a sample.

The base and the tuned model are measured by the same code on the same rows, so that their numbers can be compared;
where a stop or a time limit left one of them fewer rows, the other's numbers are narrowed to those.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from gyropilot import clock
from gyropilot.data import secrets
from gyropilot.metrics import generation as metrics
from gyropilot.metrics import rouge
from gyropilot.metrics.rouge import Mode, RougeScores
from gyropilot.problems.contract import HandBack, Json, Reporter
from gyropilot.problems.text_generation import batches, forward
from gyropilot.problems.text_generation.batches import Example, TokenCache
from gyropilot.problems.text_generation.crew import Crew
from gyropilot.problems.text_generation.data import read_prepared_rows
from gyropilot.problems.text_generation.forward import Forward
from gyropilot.problems.text_generation.generation import Answer, generate
from gyropilot.problems.text_generation.loop import TrainPlan
from gyropilot.problems.text_generation.plain import PlainForward
from gyropilot.problems.text_generation.templates import Encoder

MAX_SAMPLE_ROWS = 64
"""Most rows that are answered; the loss is taken over all."""
MAX_NEW_TOKENS = 512
_LEAST_NEW_TOKENS = 32
"""Room to answer in where all given answers are short: a model that says more is then seen to, not cut in a word."""
BATCH_ROWS = 32
LATE_SECONDS = 10.0
"""What each part of an evaluation may still take once the job was asked to stop."""
_LOSS_ROWS = 64
_LEAST_PARTS = 8
"""Parts into which the loss of a small validation set is cut, so that its noise can be told."""
_LENGTH_PERCENTILE = 95
_MOST_EXAMPLES = 1 << 30
Way = tuple[Forward, int]
"""How packs are computed, and the most examples of one."""
_SCORES = ("rouge1", "rouge2", "rougeL", "rougeLsum")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One validation row, answered; what looks like a secret in its texts is masked, for they are shown."""

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
class LossPart:
    """The loss of some validation rows that follow each other in the evaluator's order."""

    rows: int
    loss_sum: float
    labels: int


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What was measured of one model."""

    loss: float
    """Mean negative log-likelihood of an answer token in nats, over `loss_rows` rows."""
    labels: int
    loss_rows: int
    """All validation rows, unless the time was too short."""
    rows: int
    """Validation rows there are."""
    mode: Mode
    """How ROUGE found words."""
    max_new_tokens: int
    samples: tuple[Sample, ...]
    seconds: float
    loss_parts: tuple[LossPart, ...]
    """What `loss` is made of, in the evaluator's order."""
    least_seconds: float = 0.0
    """What the first batch of each part took: less time than that measures nothing."""

    def on_rows_of(self, other: Evaluation) -> Evaluation:
        """Give these numbers over no more rows than `other` saw, by an evaluator of the same order."""
        parts = self.loss_parts[: len(other.loss_parts)]
        labels = sum(one.labels for one in parts)
        return replace(
            self,
            loss=metrics.cross_entropy(math.fsum(one.loss_sum for one in parts), labels),
            labels=labels,
            loss_rows=sum(one.rows for one in parts),
            samples=self.samples[: len(other.samples)],
            loss_parts=parts,
        )

    @property
    def perplexity(self) -> float:
        """exp(loss), as large as a float goes."""
        return min(metrics.perplexity(self.loss), sys.float_info.max)

    def score(self, name: str) -> float:
        """Give the sample's mean of one ROUGE score."""
        return math.fsum(one.scores[name] for one in self.samples) / len(self.samples)

    def margin(self, name: str) -> float:
        """Give half the width of the mean's 95 % confidence interval (normal); 0 if no row is left out."""
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
    samples = tuple(Sample(**one) for one in values["samples"])
    return Evaluation(
        **{**values, "samples": samples, "loss_parts": tuple(LossPart(**one) for one in values["loss_parts"])}
    )


@dataclass(frozen=True, kw_only=True)
class LossSum:
    """A loss that can still be added to another."""

    loss_sum: float
    label_count: int

    @property
    def mean(self) -> float:
        """Nats per label."""
        return self.loss_sum / self.label_count


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much of the validation rows one evaluation takes; a first batch of each part is always done."""

    loss_rows: int
    loss_seconds: float
    answer_rows: int
    answer_seconds: float


class Evaluator:
    """Measures models on one job's validation rows, always in the same order."""

    def __init__(
        self, validation: TokenCache, prepared: Path, encoder: Encoder, plan: TrainPlan, reporter: Reporter
    ) -> None:
        self._validation, self._encoder, self._plan, self._reporter = validation, encoder, plan, reporter
        self._order = np.random.Generator(np.random.PCG64([plan.seed, len(validation)])).permutation(len(validation))
        self._rows = read_prepared_rows(prepared, (one.row for one in self._examples(0, MAX_SAMPLE_ROWS)))
        self._mode = rouge.choose_mode(row.output for row in self._rows.values())
        longest = int(np.percentile(validation.answer_lengths, _LENGTH_PERCENTILE, method="higher"))
        self.max_new_tokens = min(MAX_NEW_TOKENS, max(_LEAST_NEW_TOKENS, longest))
        self._stop_seen_at: float | None = None

    @property
    def tokens(self) -> int:
        """Tokens of all validation rows."""
        return self._validation.tokens

    @property
    def rows(self) -> int:
        """Validation rows there are."""
        return len(self._validation)

    def first(self, rows: int) -> list[Example]:
        """Give the first rows in the evaluator's order, in whole parts of its loss: at least so many, or all."""
        size = self._part_rows()
        return self._examples(0, -(-rows // size) * size)

    def whole(self, *, loss_seconds: float, answer_seconds: float) -> Budget:
        """Give the budget of all rows and the largest sample, within these times."""
        count = len(self._validation)
        return Budget(
            loss_rows=count,
            loss_seconds=loss_seconds,
            answer_rows=min(count, MAX_SAMPLE_ROWS),
            answer_seconds=answer_seconds,
        )

    def evaluate(self, model: torch.nn.Module, budget: Budget, *, phase: str) -> Evaluation:
        """Measure `model`, in evaluation mode, on its device; once a stop is asked for, within LATE_SECONDS a part.

        `phase` is what progress calls it, as "evaluating base": first the rows of the loss, then the answers.
        """
        started = clock.monotonic()
        size = self._part_rows()
        parts: list[LossPart] = []
        way = None
        firsts: list[float] = []
        for part in self._parts(budget.loss_rows, size, budget.loss_seconds, firsts):
            way = way or way_to_evaluate(model, self._examples(0, _LOSS_ROWS), self._plan)
            loss = evaluate_loss(model, part, self._plan, way=way)
            parts.append(LossPart(rows=len(part), loss_sum=loss.loss_sum, labels=loss.label_count))
            done = sum(one.rows for one in parts)
            self._reporter.progress(phase, done=done, total=budget.loss_rows, unit="rows")
        samples: list[Sample] = []
        for part in self._parts(budget.answer_rows, BATCH_ROWS, budget.answer_seconds, firsts):
            samples += self._answered(model, part)
            self._reporter.progress(phase, done=len(samples), total=budget.answer_rows, unit="answers")
        labels = sum(one.labels for one in parts)
        return Evaluation(
            loss=metrics.cross_entropy(math.fsum(one.loss_sum for one in parts), labels),
            labels=labels,
            loss_rows=sum(one.rows for one in parts),
            rows=len(self._validation),
            mode=self._mode,
            max_new_tokens=self.max_new_tokens,
            samples=tuple(samples),
            seconds=clock.monotonic() - started,
            loss_parts=tuple(parts),
            least_seconds=sum(firsts),
        )

    def _part_rows(self) -> int:
        return max(1, min(_LOSS_ROWS, len(self._validation) // _LEAST_PARTS))

    def _examples(self, start: int, end: int) -> list[Example]:
        return [self._validation[int(number)] for number in self._order[start:end]]

    def _parts(self, rows: int, size: int, seconds: float, firsts: list[float]) -> Iterator[list[Example]]:
        """Give the first `rows` rows part by part, while the next part is likely to end in time.

        The first part comes in any case; what it took is added to `firsts`.
        """
        started, longest = clock.monotonic(), 0.0
        for start in range(0, rows, size):
            began = clock.monotonic()
            if start and began + longest > self._end(started, seconds):
                return
            yield self._examples(start, min(rows, start + size))
            longest = max(longest, clock.monotonic() - began)
            if not start:
                firsts.append(longest)

    def _end(self, started: float, seconds: float) -> float:
        """Give when a part that began at `started` must end."""
        if self._reporter.hand_back_requested():
            raise HandBack
        if self._stop_seen_at is None and self._reporter.stop_requested():
            self._stop_seen_at = clock.monotonic()
        if self._stop_seen_at is None:
            return started + seconds
        return min(started + seconds, max(started, self._stop_seen_at) + LATE_SECONDS)

    def _answered(self, model: torch.nn.Module, examples: Sequence[Example]) -> list[Sample]:
        by_length = sorted(examples, key=lambda one: len(one.prompt_ids))
        answers: dict[int, Answer] = {}
        for group in _halves(by_length):
            found = generate(
                model,
                [one.prompt_ids.tolist() for one in group],
                stop_ids=self._encoder.template.stop_ids,
                max_new_tokens=self.max_new_tokens,
                tasks=[one.task for one in group],
            )
            answers |= {one.row: answer for one, answer in zip(group, found, strict=True)}
        return [self._sample_of(one.row, answers[one.row]) for one in examples]

    def _sample_of(self, number: int, answer: Answer) -> Sample:
        row = self._rows[number]
        text = self._encoder.text(answer.token_ids)
        return Sample(
            row=number,
            place=row.place,
            input=secrets.masked(row.input),
            reference=secrets.masked(row.output),
            answer=secrets.masked(text),
            is_ended=answer.is_ended,
            scores=_scores(rouge.score(text, row.output, self._mode)),
        )


def evaluate_loss(
    model: torch.nn.Module, examples: Sequence[Example], plan: TrainPlan, *, way: Way | None = None
) -> LossSum:
    """Give the summed loss over all labels of `examples`.

    `way` is what `way_to_evaluate` gave of other rows of the same kind: choosing takes as long as a few rows do.
    """
    batches.check(examples)
    torch.set_num_threads(plan.threads)
    packed, most = way or way_to_evaluate(model, examples, plan)
    was_training = model.training
    model.eval()
    loss, labels = 0.0, 0
    with Crew(packed, threads=plan.threads) as crew:
        packs = crew.packs(examples, max_tokens=plan.max_pack_tokens, max_examples=most)
        for pack, part in zip(packs, crew.losses(packs), strict=True):
            loss, labels = loss + part, labels + len(pack.labels)
    model.train(was_training)
    return LossSum(loss_sum=loss, label_count=labels)


def way_to_evaluate(model: torch.nn.Module, examples: Sequence[Example], plan: TrainPlan) -> Way:
    """Give the way and the most examples in a pack; a model that must not be packed is measured row by row."""
    torch.set_num_threads(plan.threads)
    try:
        return forward.choose(model, examples, check="loss", precision=plan.dtype)[0], _MOST_EXAMPLES
    except ValueError:
        return PlainForward(model, precision=plan.dtype), 1


def _halves(by_length: Sequence[Example]) -> list[Sequence[Example]]:
    """Give the batch whole, or apart where its prompts differ much in length: padding costs what text costs."""
    lengths = [len(one.prompt_ids) for one in by_length]
    middle = len(by_length) // 2
    if middle < 4 or lengths[-1] < 2 * lengths[middle - 1]:
        return [by_length]
    return [by_length[:middle], by_length[middle:]]


def _scores(scores: RougeScores) -> dict[str, float]:
    return {name: getattr(scores, name) for name in _SCORES}
