"""Finds a learning rate by a short probe, where a job gives none; called by training_run before the loop.

From the same start a few steps are taken at a rate, and the loss of other training rows is measured: first at the
type's documented rate, then at ever larger ones while that gets better, or at ever smaller ones where it did not. The
largest that lowers it about as much as the best is halved: what helps most within a few steps is more than hundreds of
them take. It is the same for the same rows, seed and machine, unless the time runs out; trained parameters and random
generators are left as they were, to the bit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from gyropilot import clock
from gyropilot.files import write_whole
from gyropilot.problems.contract import HandBack, Json, Reporter
from gyropilot.problems.text_generation import batches, forward
from gyropilot.problems.text_generation.batches import Example
from gyropilot.problems.text_generation.crew import Crew
from gyropilot.problems.text_generation.evaluate import evaluate_loss
from gyropilot.problems.text_generation.forward import Forward
from gyropilot.problems.text_generation.loop import TrainPlan
from gyropilot.problems.text_generation.models import trainable_parameters
from gyropilot.problems.text_generation.tuning.specification import DOCUMENTED_RATES, TuningType

PHASE = "finding the learning rate"
FILE = "learning_rate.json"
"""In the folder of the checkpoints."""
LADDER = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 3e-4, 1e-4, 3e-5)
_AS_GOOD = 0.95
"""Share of the best fall from which a rate counts as good as the best: the largest such is taken."""
_SAFETY = 0.5
_STEPS = 6
"""Steps at each rate."""
_ROWS_A_STEP = 8
_HELD_ROWS = 16
"""Rows whose loss is compared; taken from the training rows, and not among those of the steps."""
_LEAST_ROWS = 8
"""Below this many training rows there is nothing to compare by."""
_LEAST_FALL = 1e-3
"""Share of its first value by which a loss must have fallen for a rate to count as any good."""
_SECONDS_SHARE, _MOST_SECONDS = 0.05, 90.0


@dataclass(frozen=True, kw_only=True)
class FoundRate:
    """A learning rate and how it came about."""

    rate: float
    losses: Mapping[str, float]
    """After the steps at each rate that was tried, as "0.01"; inf is told as a huge number, 1e30."""
    start_loss: float | None
    """Before any step; None: nothing was tried."""
    why: str

    def to_json(self) -> dict[str, Json]:
        """Give JSON values, read back by `find` on a resume."""
        return asdict(self)


def find(
    model: torch.nn.Module,
    examples: Sequence[Example],
    plan: TrainPlan,
    *,
    tuning: TuningType,
    remembered: Path,
    seconds_left: float,
    reporter: Reporter,
) -> FoundRate:
    """Give the rate that `remembered` holds, else probe, tell it by an event, and leave it there.

    Args:
        model: as the loop is about to train it; left as it was.
        examples: the training rows.
        plan: how they will be trained; its learning rate is not looked at.
        tuning: gives the documented rate.
        remembered: folder of the checkpoints.
        seconds_left: of the whole candidate; the probe takes a twentieth of them and 90 s at most.
        reporter: hears how far it is, and the event.

    Raises:
        HandBack: the service goes down; nothing was written.
    """
    file = remembered / FILE
    if file.exists():
        return FoundRate(**json.loads(file.read_text(encoding="utf-8")))
    began = clock.monotonic()
    seconds = min(_SECONDS_SHARE * seconds_left, _MOST_SECONDS)
    try:
        found = _searched(model, examples, plan, tuning, seconds=seconds, reporter=reporter)
    except (MemoryError, RuntimeError, ValueError) as error:
        # The loop says better what is wrong with a model, and makes its packs smaller where memory runs out.
        why = f"the documented rate of {tuning}, since the probe broke off: {error}"
        found = FoundRate(rate=DOCUMENTED_RATES[tuning], losses={}, start_loss=None, why=why)
    remembered.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps(found.to_json()))
    took = clock.monotonic() - began
    reporter.event(
        "learning_rate", f"learning rate {found.rate:g}: {found.why}", detail=found.to_json() | {"seconds": took}
    )
    return found


def _searched(
    model: torch.nn.Module,
    examples: Sequence[Example],
    plan: TrainPlan,
    tuning: TuningType,
    *,
    seconds: float,
    reporter: Reporter,
) -> FoundRate:
    documented = DOCUMENTED_RATES[tuning]
    if len(examples) < _LEAST_ROWS:
        why = f"the documented rate of {tuning}, since {len(examples)} training rows are too few to probe with"
        return FoundRate(rate=documented, losses={}, start_loss=None, why=why)
    if seconds < 1.0:
        why = f"the documented rate of {tuning}, since the time is too short to probe"
        return FoundRate(rate=documented, losses={}, start_loss=None, why=why)
    with _kept(model):
        probe = _Probe(model, examples, plan, until=clock.monotonic() + seconds, reporter=reporter)
        losses, start = _climb(probe, LADDER.index(documented)), probe.start_loss
    told = {f"{rate:g}": min(loss, 1e30) for rate, loss in losses.items()}
    good = {rate: loss for rate, loss in losses.items() if loss < start * (1 - _LEAST_FALL)}
    if not good:
        cause = "no rate that was tried lowered the loss within a few steps" if losses else "the time was too short"
        why = f"the documented rate of {tuning}, since {cause}"
        return FoundRate(rate=documented, losses=told, start_loss=start, why=why)
    enough = start - _AS_GOOD * (start - min(good.values()))
    best = max(rate for rate, loss in good.items() if loss <= enough)
    tried = ", ".join(f"{rate} to {loss:.3g}" for rate, loss in told.items())
    why = (
        f"half of {best:g}, the largest of those tried that lower the loss about most within {_STEPS} steps"
        f" (from {start:.3g}: {tried})"
    )
    return FoundRate(rate=_SAFETY * best, losses=told, start_loss=start, why=why)


def _climb(probe: _Probe, first: int) -> dict[float, float]:
    """Give the loss at each rate tried: from LADDER[first] on, up while it gets better, down where it did not."""
    losses: dict[float, float] = {}

    def tried(place: int) -> float | None:
        loss = probe.loss_after(LADDER[place])
        if loss is not None:
            losses[LADDER[place]] = loss
        return loss

    best = tried(first)
    for step in (-1, 1):
        place = first + step
        while best is not None and 0 <= place < len(LADDER):
            loss = tried(place)
            if loss is None or loss >= best:
                break
            best, place = loss, place + step
        if place != first + step:
            break  # larger ones were better: smaller ones are not
    return losses


class _Probe:
    """Takes the same few steps from the same start at one rate after the other."""

    def __init__(
        self,
        model: torch.nn.Module,
        examples: Sequence[Example],
        plan: TrainPlan,
        *,
        until: float,
        reporter: Reporter,
    ) -> None:
        torch.set_num_threads(plan.threads)
        self._model, self._plan, self._until, self._reporter = model, plan, until, reporter
        self._tried = 0
        self._parameters = trainable_parameters(model)
        self._steps, self._held = _drawn(examples, plan)
        self._start = {name: one.detach().clone() for name, one in self._parameters.items()}
        self._way: Forward = forward.choose(model, self._held, check="gradients", precision=plan.dtype)[0]
        self.start_loss = self._held_loss()
        self._longest = 0.0

    def loss_after(self, rate: float) -> float | None:
        """Give the held rows' loss after the steps at `rate`, inf where it broke; None: the time was too short.

        Time is too short once a stop was asked for, too.
        """
        began = clock.monotonic()
        if began + self._longest > self._until:
            return None
        for name, one in self._parameters.items():
            one.data.copy_(self._start[name])
        torch.manual_seed(self._plan.seed)
        optimizer = torch.optim.AdamW(
            self._parameters.values(), lr=rate, weight_decay=self._plan.weight_decay, fused=True
        )
        self._model.train()
        with Crew(self._way, threads=self._plan.threads) as crew:
            for number, examples in enumerate(self._steps):
                if self._is_to_end():
                    return None
                self._way.refresh()
                loss = self._stepped(crew, optimizer, examples)
                if not math.isfinite(loss):
                    return math.inf
                needed = (clock.monotonic() - began) / (number + 1) * len(self._steps)
                if not self._longest and began + needed > self._until:
                    return None
        loss = self._held_loss()
        self._longest = max(self._longest, clock.monotonic() - began)
        self._tried += 1
        self._reporter.progress(PHASE, done=self._tried, total=max(3, self._tried + 1), unit="rates")
        return loss if math.isfinite(loss) else math.inf

    def _stepped(self, crew: Crew, optimizer: torch.optim.Optimizer, examples: Sequence[Example]) -> float:
        parameters = list(self._parameters.values())
        optimizer.zero_grad(set_to_none=True)
        packs = crew.packs(examples, max_tokens=self._plan.max_pack_tokens, max_examples=self._plan.micro_batch)
        labels = sum(len(one.answer_ids) for one in examples)
        loss = crew.add_gradients(packs, parameters) / labels
        torch._foreach_div_([one.grad for one in parameters if one.grad is not None], float(labels))
        torch.nn.utils.clip_grad_norm_(parameters, self._plan.grad_clip, foreach=True)
        optimizer.step()
        return loss

    def _is_to_end(self) -> bool:
        if self._reporter.hand_back_requested():
            raise HandBack
        return self._reporter.stop_requested()

    def _held_loss(self) -> float:
        self._way.refresh()
        return evaluate_loss(self._model, self._held, self._plan, way=(self._way, self._plan.micro_batch)).mean


def _drawn(examples: Sequence[Example], plan: TrainPlan) -> tuple[list[list[Example]], list[Example]]:
    """Give the rows of each step, and those whose loss is compared, drawn by the plan's seed."""
    order = [int(one) for one in batches.epoch_order(len(examples), seed=plan.seed, epoch=0)]
    held = order[: min(_HELD_ROWS, len(order) // 2)]
    rest = order[len(held) :]
    size = min(_ROWS_A_STEP, plan.batch_size)
    steps = [[examples[rest[(step * size + row) % len(rest)]] for row in range(size)] for step in range(_STEPS)]
    return steps, [examples[one] for one in held]


@contextmanager
def _kept(model: torch.nn.Module) -> Iterator[None]:
    """Put trained parameters, mode and random generators back afterwards, to the bit; no gradient stays."""
    parameters = trainable_parameters(model)
    before = {name: one.detach().clone() for name, one in parameters.items()}
    devices = sorted({one.device.index or 0 for one in parameters.values() if one.is_cuda})
    was_training = model.training
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            for name, one in parameters.items():
                one.data.copy_(before[name])
                one.grad = None
            model.train(was_training)
