"""The validation loss after each epoch, on as many rows as cost little; heard by training_run, shown as a curve.

The rows are the first in the evaluator's order, the same after every epoch. The last point is not measured apart: it is
what the finished model has on those rows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from gyropilot import clock
from gyropilot.files import write_whole
from gyropilot.problems.contract import Json, Reporter
from gyropilot.problems.text_generation.evaluate import Evaluation, Evaluator, evaluate_loss, way_to_evaluate
from gyropilot.problems.text_generation.loop import StepRecord, TrainPlan

FILE = "epoch_losses.json"
"""In the folder of the checkpoints."""
_SHARE = 0.05
"""Of an epoch's time that its measuring takes at most, but for the least rows."""
_LEAST_ROWS = 16
_COST = 0.6
"""What a token costs as a share of one in training: no backward pass."""


@dataclass(frozen=True, kw_only=True)
class EpochLoss:
    """The loss on validation rows at one point of the training."""

    epoch: float
    """Passes over the data done; a fraction where training ended within one."""
    step: int
    loss: float
    """Mean of a label, in nats."""
    rows: int

    @property
    def perplexity(self) -> float:
        """The loss's exponential; inf where that is no number."""
        return math.exp(self.loss) if self.loss < 700 else math.inf

    def to_json(self) -> dict[str, Json]:
        """Give what evaluation.json holds of it."""
        perplexity = self.perplexity
        return asdict(self) | {"perplexity": perplexity if math.isfinite(perplexity) else None}


class EpochLosses:
    """Measures `model` at the end of each epoch but the last."""

    def __init__(
        self,
        model: torch.nn.Module,
        evaluator: Evaluator,
        plan: TrainPlan,
        *,
        checkpoints: Path,
        reporter: Reporter,
        deadline: Callable[[], float],
    ) -> None:
        """`deadline`: gives the instant by which training is to be over, as `clock.monotonic` tells it."""
        self._model, self._evaluator, self._plan = model, evaluator, plan
        self._file, self._reporter, self._deadline = checkpoints / FILE, reporter, deadline
        steps = [int(path.name.removeprefix("step-")) for path in checkpoints.glob("step-????????")]
        self._resumed_at = max(steps, default=0)
        kept = json.loads(self._file.read_text(encoding="utf-8")) if self._file.exists() else []
        self._losses = [EpochLoss(**one) for one in kept]
        self._seconds, self._tokens = 0.0, 0

    def heard(self, record: StepRecord) -> None:
        """Hear a step, those before a resume first; where it ends an epoch the model as it then is is measured.

        That of the step that was resumed at is, too, where a hand-back left no time for it.
        """
        self._seconds, self._tokens = self._seconds + record.seconds, self._tokens + record.tokens
        is_end = abs(record.epoch - round(record.epoch)) < 1e-9
        if not is_end or round(record.epoch) >= self._plan.epochs:
            return
        if self._is_to_measure(record.step) and not self._is_hurried():
            self._measure(record)
        self._seconds, self._tokens = 0.0, 0

    def whole(self, measured: Evaluation, last: StepRecord) -> tuple[EpochLoss, ...]:
        """Give all points, the last by the finished model's evaluation; there is always one."""
        rows = self._losses[0].rows if self._losses else measured.loss_rows
        seen, total, labels = 0, 0.0, 0
        for part in measured.loss_parts:
            if seen >= rows:
                break
            seen, total, labels = seen + part.rows, total + part.loss_sum, labels + part.labels
        end = EpochLoss(epoch=round(last.epoch, 6), step=last.step, loss=total / labels, rows=seen)
        return *(one for one in self._losses if one.step < last.step), end

    def _is_to_measure(self, step: int) -> bool:
        """Say whether the model is of this step, and its loss is not known."""
        return step > self._resumed_at or (step == self._resumed_at and all(one.step != step for one in self._losses))

    def _measure(self, record: StepRecord) -> None:
        rows = self._losses[0].rows if self._losses else self._affordable()
        examples = self._evaluator.first(rows)
        way = way_to_evaluate(self._model, examples, self._plan)
        loss = evaluate_loss(self._model, examples, self._plan, way=way).mean
        found = EpochLoss(epoch=round(record.epoch), step=record.step, loss=loss, rows=len(examples))
        self._losses = [one for one in self._losses if one.step < record.step] + [found]
        write_whole(self._file, json.dumps([asdict(one) for one in self._losses]))
        self._reporter.event(
            "validation_loss",
            f"after epoch {found.epoch:g} of {self._plan.epochs} the loss on {found.rows} validation rows is"
            f" {found.loss:.4f} (perplexity {found.perplexity:.4g})",
            detail=_finite(found.to_json()),
        )

    def _affordable(self) -> int:
        """Give the rows whose loss takes no more than its share of the epoch that was heard."""
        a_row = self._evaluator.tokens / self._evaluator.rows * _COST * self._seconds / max(1, self._tokens)
        return max(_LEAST_ROWS, int(_SHARE * self._seconds / max(a_row, 1e-9)))

    def _is_hurried(self) -> bool:
        """Say whether there is no time for it: the end is near, or was asked for."""
        late = clock.monotonic() + _SHARE * self._seconds > self._deadline()
        return late or self._reporter.stop_requested() or self._reporter.hand_back_requested()


def _finite(values: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in values.items() if value is not None}
