"""When a candidate's tuned model and its untouched base are measured, and how long that may take.

    train  ->  measure tuned  ->  save it  ->  load the base again, measure it on the same rows

Training comes first: its first step is what a person waits for, and the tuned model what they want. The base is loaded
anew, so that it is untouched by construction whatever the tuning method did to its weights. Its measuring is what is
given up where the time is too short; the report then says so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import torch

from gyropilot import clock
from gyropilot.files import write_whole
from gyropilot.problems.contract import Json, Reporter, TrainTask
from gyropilot.problems.text_generation.evaluate import LATE_SECONDS, Budget, Evaluation, Evaluator, read_evaluation
from gyropilot.problems.text_generation.loop import StepRecord

BASE_EVALUATION = "base_evaluation.json"
TUNED_EVALUATION = "tuned_evaluation.json"

_LOSS_SHARE, _ANSWER_SHARE = 0.15, 0.1
"""Most of the candidate's time that is kept free for one model's loss, and for its answers."""
_LOSS_COST, _ANSWER_COST = 0.6, 5.0
"""What a token costs in them, as a share of one in training: no backward pass; one token of a row at a time."""
_RESERVE_FACTOR = 1.3
_SAVE_SECONDS, _SAVE_SECONDS_PER_GIB = 5.0, 40.0


class Measuring:
    """The two evaluations of one TrainTask and the time kept free for them."""

    def __init__(
        self, task: TrainTask, evaluator: Evaluator, reporter: Reporter, *, deadline: float, model_bytes: int
    ) -> None:
        """`deadline`: when the candidate must be done, as `clock.monotonic` tells it; inf: no bound."""
        self._task, self._evaluator, self._reporter = task, evaluator, reporter
        self._deadline = deadline
        self._seconds = deadline - clock.monotonic()
        self._save_seconds = _SAVE_SECONDS + _SAVE_SECONDS_PER_GIB * model_bytes / 2**30
        self._tokens, self._token_seconds = 0, 0.0

    def heard(self, record: StepRecord) -> None:
        """Hear a step of training: its speed tells what measuring will take."""
        self._tokens += record.tokens
        self._token_seconds += record.seconds

    def training_deadline(self) -> float:
        """Give when training must end so that measuring and saving still fit; half the time is always its own."""
        reserve = _RESERVE_FACTOR * 2 * self._evaluation_seconds() + self._save_seconds
        return self._deadline - min(reserve, max(0.0, self._seconds / 2))

    def tuned(self, model: torch.nn.Module, *, steps: int) -> Evaluation:
        """Measure the tuned model, or give what an earlier attempt measured after as many steps."""
        file = self._task.checkpoints / TUNED_EVALUATION
        saved = _read(file)
        if saved is not None and saved["steps"] == steps:
            return read_evaluation(saved["evaluation"])
        left = max(0.0, self._deadline - clock.monotonic() - self._save_seconds)
        budget = self._evaluator.whole(
            loss_seconds=0.3 * left, answer_seconds=min(self._task.evaluation_seconds, 0.2 * left)
        )
        found = self._evaluator.evaluate(model, budget, phase="evaluating tuned")
        write_whole(file, json.dumps({"steps": steps, "evaluation": found.to_json()}))
        return found

    def base(self, load: Callable[[], torch.nn.Module], tuned: Evaluation) -> Evaluation | None:
        """Measure the untouched base on the rows of `tuned`; None, and an event, where the time is too short."""
        file = self._task.checkpoints / BASE_EVALUATION
        saved = _read(file)
        if saved is not None:
            return read_evaluation(saved)
        began = clock.monotonic()
        if self._deadline - began < tuned.least_seconds:
            self._give_up(self._deadline - began, tuned)
            return None
        model = load()
        left = self._deadline - clock.monotonic()
        if left < tuned.least_seconds:
            self._give_up(left, tuned)
            return None
        budget = Budget(
            loss_rows=tuned.loss_rows,
            loss_seconds=0.6 * left,
            answer_rows=len(tuned.samples),
            answer_seconds=min(self._task.evaluation_seconds, 0.4 * left),
        )
        found = self._evaluator.evaluate(model, budget, phase="evaluating base")
        write_whole(file, json.dumps(found.to_json()))
        return found

    def _give_up(self, left: float, tuned: Evaluation) -> None:
        self._reporter.event(
            "base_not_measured",
            f"the base model was not measured: {max(0.0, left):.0f} s were left and its first rows alone take about"
            f" {math.ceil(tuned.least_seconds)} s; whether tuning helped is not known",
        )

    def _evaluation_seconds(self) -> float:
        """Estimate what measuring one model takes, by the speed of training so far."""
        if math.isinf(self._seconds) or not self._tokens:
            return min(2 * LATE_SECONDS, 0.1 * self._seconds)
        pace = self._token_seconds / self._tokens
        sample = self._evaluator.whole(loss_seconds=math.inf, answer_seconds=math.inf).answer_rows
        loss = _LOSS_COST * pace * self._evaluator.tokens
        answers = _ANSWER_COST * pace * sample * self._evaluator.max_new_tokens
        longest = min(self._task.evaluation_seconds, _ANSWER_SHARE * self._seconds)
        return min(loss, _LOSS_SHARE * self._seconds) + min(answers, longest)


def _read(file: Path) -> Json:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
