"""The training loop: examples in, a tuned model and its step records out; called by train.

    for each step:  draw batch_size examples -> packs -> summed loss, backward, pack by pack
                    gradients / labels of the whole step -> clip -> AdamW at the step's learning rate -> record
    now and then:   checkpoint;  at a stop, a hand-back or the deadline: checkpoint and end after the step under way

A step depends only on the plan, the data and its own number, so a run goes on from a checkpoint bit for bit.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import torch

from gyropilot import clock
from gyropilot.errors import TrainingFailed
from gyropilot.problems.contract import HandBack, Reporter
from gyropilot.problems.text_generation import batches, checkpoints, forward, random_states
from gyropilot.problems.text_generation.batches import Example
from gyropilot.problems.text_generation.checkpoints import Checkpoint
from gyropilot.problems.text_generation.crew import Crew
from gyropilot.problems.text_generation.forward import Forward
from gyropilot.problems.text_generation.models import DtypeName, trainable_parameters

PHASE = "training"
_BEGUN_FILE = "begun"
"""Lies beside the checkpoints once an attempt trained: the next that finds no checkpoint says that it begins anew."""
_LEAST_WORK_PER_SAVE = 10.0
"""Times as long as a checkpoint took that training goes on before the next: whole models take long to write."""
Ending = Literal["finished", "time limit", "stop"]


@dataclass(frozen=True, kw_only=True)
class TrainPlan:
    """How to train. Stored in every checkpoint: a run goes on only under the plan it began with."""

    epochs: int
    batch_size: int
    """Examples per optimizer step, whatever the packing."""
    learning_rate: float
    """Peak, reached after `warmup_steps`."""
    warmup_steps: int
    seed: int
    max_pack_tokens: int
    """Tokens computed at a time; a longer example is computed alone."""
    micro_batch: int
    """Most examples in one pack."""
    dtype: DtypeName
    """Of the frozen base; trained parameters and optimizer are float32."""
    threads: int
    weight_decay: float
    grad_clip: float
    """Largest norm of a step's gradient; longer ones are shortened to it."""
    schedule: Literal["cosine", "linear", "constant"]
    """From the peak down to zero at the last step (constant: stays)."""


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """What one optimizer step did."""

    step: int
    """From 1."""
    epoch: float
    """Passes over the data done after this step."""
    loss: float
    """Mean over the step's labels, in nats, before the update."""
    learning_rate: float
    grad_norm: float
    """Before clipping."""
    tokens: int
    """Of the examples; no padding, shared starts counted for each."""
    labels: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class TrainOutcome:
    """How training went; the model itself was changed in place."""

    steps: int
    records: tuple[StepRecord, ...]
    """Of every step, those before a resume among them."""
    tokens: int
    seconds: float
    """In steps, over all attempts."""
    ended_by: Ending
    resumed_at: int
    """Step of the checkpoint that this attempt went on from; 0: it began anew."""
    forward: str
    """Which way computed the packs: "plain" or the fast one's name."""

    @property
    def losses(self) -> tuple[float, ...]:
        """Mean loss of each step."""
        return tuple(record.loss for record in self.records)


def train(
    model: torch.nn.Module,
    examples: Sequence[Example],
    plan: TrainPlan,
    *,
    checkpoints: Path,
    reporter: Reporter,
    deadline: Callable[[], float] | None,
    checkpoint_seconds: float,
    on_step: Callable[[StepRecord], None],
) -> TrainOutcome:
    """Train what requires gradients in `model`, going on from the newest checkpoint in `checkpoints`.

    Args:
        model: on its device, base frozen; trained parameters float32.
        examples: the training rows, in a fixed order.
        plan: how to train; must equal the checkpoint's.
        checkpoints: folder kept over attempts of this run.
        reporter: hears progress and events, and says when to stop.
        deadline: asked before each step, gives the instant of `clock.monotonic` by which the last one is to be over;
            None: no bound.
        checkpoint_seconds: time between checkpoints; longer where writing one takes over a tenth of it. 0: each step.
        on_step: hears every step once and in order, those before a resume first.

    Raises:
        InvalidData: there is nothing to learn from.
        TrainingFailed: the loss is not finite, memory or disk do not suffice, or the checkpoint is of another run.
        HandBack: the service goes down; a checkpoint was saved.
    """
    batches.check(examples)
    run = _Run(model, examples, plan, folder=checkpoints, reporter=reporter)
    for record in run.records:
        on_step(record)
    with run:
        ended_by = _run_steps(run, reporter, deadline=deadline, checkpoint_seconds=checkpoint_seconds, on_step=on_step)
    return run.outcome(ended_by)


def learning_rate(plan: TrainPlan, *, step: int, total_steps: int) -> float:
    """Give the learning rate of step `step`, counted from 0: a straight rise, then the plan's fall."""
    warmup = min(plan.warmup_steps, total_steps)
    if step < warmup:
        return plan.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, total_steps - warmup)
    if plan.schedule == "cosine":
        return plan.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))
    return plan.learning_rate * ((1.0 - done) if plan.schedule == "linear" else 1.0)


def _run_steps(
    run: _Run,
    reporter: Reporter,
    *,
    deadline: Callable[[], float] | None,
    checkpoint_seconds: float,
    on_step: Callable[[StepRecord], None],
) -> Ending:
    saved_at = clock.monotonic()
    ended_by: Ending = "finished"
    while run.step < run.total_steps:
        if reporter.hand_back_requested():
            run.save_unsaved()
            raise HandBack
        if reporter.stop_requested():
            ended_by = "stop"
            break
        if deadline is not None and clock.monotonic() + run.step_seconds() > deadline():
            ended_by = "time limit"
            break
        on_step(run.take_step())
        if clock.monotonic() - saved_at >= run.save_interval(checkpoint_seconds):
            run.save()
            saved_at = clock.monotonic()
    run.save_unsaved()
    return ended_by


class _Run:
    """One run's state between steps."""

    def __init__(
        self, model: torch.nn.Module, examples: Sequence[Example], plan: TrainPlan, *, folder: Path, reporter: Reporter
    ) -> None:
        torch.set_num_threads(plan.threads)
        self._model, self._examples, self._plan = model, examples, plan
        self._folder, self._reporter = folder, reporter
        self._parameters = trainable_parameters(model)
        self._optimizer = torch.optim.AdamW(
            self._parameters.values(), lr=plan.learning_rate, weight_decay=plan.weight_decay, fused=True
        )
        self._devices = sorted({one.device.index or 0 for one in self._parameters.values() if one.is_cuda})
        self._max_pack_tokens = plan.max_pack_tokens
        self._identity: dict[str, object] = {
            "plan": asdict(plan),
            "data_sha256": batches.digest(examples),
            "model": _shape(model),
        }
        self.total_steps = plan.epochs * batches.steps_per_epoch(len(examples), plan.batch_size)
        self.step = self.saved_step = self.resumed_at = 0
        self.save_seconds = 0.0
        self.records: list[StepRecord] = []
        folder.mkdir(parents=True, exist_ok=True)
        checkpoints.check_space(folder, 3 * 3 * sum(one.nbytes for one in self._parameters.values()))
        self._forward, reason = _chosen(model, examples, plan.dtype)
        reporter.event("forward", f"packs go the {self._forward.name} way{reason and ': '}{reason}")
        self._identity["forward"] = self._forward.name
        torch.manual_seed(plan.seed)
        self._restore()
        self._forward.refresh()
        self._crew = Crew(self._forward, threads=plan.threads)

    def __enter__(self) -> Self:
        self._model.train()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._model.eval()
        self._crew.__exit__(kind, error, trace)

    def take_step(self) -> StepRecord:
        """Do one optimizer step."""
        started = clock.monotonic()
        plan = self._plan
        examples = batches.step_examples(self._examples, batch_size=plan.batch_size, seed=plan.seed, step=self.step)
        labels = sum(len(one.answer_ids) for one in examples)
        loss = self._gradients(examples) / labels
        gradients = [one.grad for one in self._parameters.values() if one.grad is not None]
        torch._foreach_div_(gradients, float(labels))
        norm = float(torch.nn.utils.clip_grad_norm_(self._parameters.values(), plan.grad_clip, foreach=True))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise TrainingFailed(
                f"the loss became {loss} (gradient norm {norm}) at step {self.step + 1} of {self.total_steps};"
                f" lower learningRate (it is {plan.learning_rate:g}) or look for broken rows"
            )
        rate = learning_rate(plan, step=self.step, total_steps=self.total_steps)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        # Zeroed in place: giving gradients of whole models back and taking them anew tears the heap to pieces.
        self._optimizer.zero_grad(set_to_none=False)
        self._forward.refresh()
        self.step += 1
        record = StepRecord(
            step=self.step,
            epoch=self.step * plan.epochs / self.total_steps,
            loss=loss,
            learning_rate=rate,
            grad_norm=norm,
            tokens=sum(one.length for one in examples),
            labels=labels,
            seconds=clock.monotonic() - started,
        )
        self.records.append(record)
        self._report()
        return record

    def step_seconds(self) -> float:
        """Give what a step takes, by the last few; 0 while none was taken."""
        recent = self.records[-8:]
        return sum(record.seconds for record in recent) / len(recent) if recent else 0.0

    def save_unsaved(self) -> None:
        """Write a checkpoint unless the newest is of this step."""
        if self.step > self.saved_step:
            self.save()

    def save_interval(self, wished_seconds: float) -> float:
        """Give the time between checkpoints: as wished, and longer where writing them would cost much; 0: each step."""
        return max(wished_seconds, _LEAST_WORK_PER_SAVE * self.save_seconds) if wished_seconds else 0.0

    def save(self) -> None:
        """Write a checkpoint of the present state; where the disk is full, say so and go on without."""
        began = clock.monotonic()
        optimizer = random_states.save(self._devices)
        for name, parameter in self._parameters.items():
            for kind, value in self._optimizer.state[parameter].items():
                optimizer[f"{kind}.{name}"] = value
        try:
            checkpoints.save(
                self._folder,
                Checkpoint(
                    step=self.step,
                    weights=self._parameters,
                    optimizer=optimizer,
                    state={
                        **self._identity,
                        "max_pack_tokens": self._max_pack_tokens,
                        "records": [asdict(record) for record in self.records],
                    },
                ),
            )
        except checkpoints.DiskFull as error:
            # Training itself needs no disk; the next attempt may find room again.
            self._reporter.event("checkpoint-skipped", str(error), detail={"step": self.step})
            return
        self.saved_step, self.save_seconds = self.step, clock.monotonic() - began

    def outcome(self, ended_by: Ending) -> TrainOutcome:
        """Give what the run came to."""
        return TrainOutcome(
            steps=self.step,
            records=tuple(self.records),
            tokens=sum(record.tokens for record in self.records),
            seconds=sum(record.seconds for record in self.records),
            ended_by=ended_by,
            resumed_at=self.resumed_at,
            forward=self._forward.name,
        )

    def _restore(self) -> None:
        found = checkpoints.find_latest(self._folder)
        if found is None:
            self._begin_anew()
            return
        checkpoints.refuse_mismatch(found, expected=self._identity)
        for name, parameter in self._parameters.items():
            parameter.data.copy_(found.weights[name])
            for kind in ("step", "exp_avg", "exp_avg_sq"):
                kept = found.optimizer.get(f"{kind}.{name}")
                if kept is not None:  # a parameter that no row has reached yet has none
                    self._optimizer.state[parameter][kind] = kept.to(parameter.device)
        random_states.load(found.optimizer, self._devices)
        self.step = self.saved_step = self.resumed_at = found.step
        self.records = [StepRecord(**record) for record in found.state["records"]]
        self._max_pack_tokens = int(found.state.get("max_pack_tokens", self._max_pack_tokens))
        self._reporter.event(
            "resumed", f"went on from step {found.step} of {self.total_steps}", detail={"step": found.step}
        )
        self._report()

    def _begin_anew(self) -> None:
        begun = self._folder / _BEGUN_FILE
        if not begun.exists():
            begun.touch()
            return
        self._reporter.event(
            "resumed", "went on from its beginning: no checkpoint had been written yet", detail={"step": 0}
        )
        self._reporter.progress(PHASE, done=0, total=self.total_steps, unit="steps")

    def _gradients(self, examples: Sequence[Example]) -> float:
        """Add up the gradients of the summed loss; give the sum. Where memory runs out, halve the packs and go on."""
        while True:
            packs = self._crew.packs(examples, max_tokens=self._max_pack_tokens, max_examples=self._plan.micro_batch)
            try:
                return self._crew.add_gradients(packs, list(self._parameters.values()))
            except (MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                self._optimizer.zero_grad(set_to_none=True)
                longest = max(one.length for one in examples)
                if self._max_pack_tokens <= longest // 2:
                    raise TrainingFailed(
                        f"a single example of {longest} tokens does not fit into memory at step {self.step + 1};"
                        " shorten the rows or choose a smaller base model"
                    ) from error
                self._max_pack_tokens //= 2
                self._reporter.event("memory", f"memory ran out; packs are now of {self._max_pack_tokens} tokens")

    def _report(self) -> None:
        recent = self.records[-8:]
        seconds = max(1e-9, sum(record.seconds for record in recent))
        self._reporter.progress(
            PHASE,
            done=self.step,
            total=self.total_steps,
            unit="steps",
            values={
                "loss": self.records[-1].loss,
                "tokens_per_second": sum(record.tokens for record in recent) / seconds,
                "seconds_left": (self.total_steps - self.step) * seconds / len(recent),
                "saved": self.saved_step,
            },
        )


def _chosen(model: torch.nn.Module, examples: Sequence[Example], precision: DtypeName) -> tuple[Forward, str]:
    try:
        return forward.choose(model, examples, check="gradients", precision=precision)
    except ValueError as error:
        raise TrainingFailed(f"this base model cannot be tuned here: {error}; choose another one") from error


def _is_out_of_memory(error: BaseException) -> bool:
    """Say whether memory ran out: torch has a class for accelerators, and only words for the CPU."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def _shape(model: torch.nn.Module) -> str:
    """Fingerprint of what is trained: names and shapes."""
    text = ";".join(f"{name}{tuple(one.shape)}" for name, one in trainable_parameters(model).items())
    return hashlib.sha256(text.encode()).hexdigest()
