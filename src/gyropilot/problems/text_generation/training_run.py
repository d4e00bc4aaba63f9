"""One candidate's way from its base model to its artifacts; train.py starts it once the process is prepared."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import torch
from transformers.utils.logging import disable_progress_bar

from gyropilot import clock
from gyropilot.errors import InvalidData, TrainingFailed
from gyropilot.problems.contract import Json, Reporter, TrainResult, TrainTask
from gyropilot.problems.text_generation import artifacts, delivery, loop, merging, models
from gyropilot.problems.text_generation.base_model import BaseModelFacts
from gyropilot.problems.text_generation.batches import TokenCache
from gyropilot.problems.text_generation.delivery import Delivery
from gyropilot.problems.text_generation.epoch_losses import EpochLosses
from gyropilot.problems.text_generation.evaluate import Evaluator
from gyropilot.problems.text_generation.hardware import plan_hardware
from gyropilot.problems.text_generation.loop import StepRecord, TrainOutcome, TrainPlan
from gyropilot.problems.text_generation.measuring import Measuring
from gyropilot.problems.text_generation.models import DtypeName, LoadedModel, trainable_parameters
from gyropilot.problems.text_generation.request import read_spec
from gyropilot.problems.text_generation.source_prompts import kept
from gyropilot.problems.text_generation.source_prompts.record import SourcePrompt
from gyropilot.problems.text_generation.starting import Start
from gyropilot.problems.text_generation.summary import MergeCheck, TrainingSummary
from gyropilot.problems.text_generation.templates import Encoder
from gyropilot.problems.text_generation.tuning import learning_rate
from gyropilot.problems.text_generation.tuning.learning_rate import FoundRate
from gyropilot.problems.text_generation.tuning.lora import fingerprint
from gyropilot.problems.text_generation.tuning.methods import method_of
from gyropilot.problems.text_generation.tuning.specification import DOCUMENTED_RATES, SOURCE_METHODS


class TrainingRun:
    """The stages of one TrainTask."""

    def __init__(self, task: TrainTask, base: BaseModelFacts, start: Start, reporter: Reporter) -> None:
        self._task, self._base, self._start, self._reporter = task, base, start, reporter
        self._seconds = math.inf if task.seconds_left is None else task.seconds_left
        self._deadline = clock.monotonic() + self._seconds
        proposed = {name: value for name, value in task.candidate.items() if name != "name"}
        self._spec = replace(read_spec(task.spec), **proposed)
        self._encoder = Encoder.of_base_model(
            self._base.folder, style=self._base.template_style, verbalizer=self._spec.method.verbalizer
        )
        self._training, self._validation = self._cache("training"), self._cache("validation")
        self._source = self._source_prompt()
        self._method = method_of(
            self._spec.method,
            tasks=max(1, len(task.profile.get("tasks") or ())),
            source=None if self._source is None else self._source.folder,
        )
        self._hardware = plan_hardware(
            self._base.folder,
            method=self._spec.method,
            cores=task.cores,
            memory_bytes=task.memory_bytes,
            longest_example=max(int(cache.lengths.max()) for cache in (self._training, self._validation)),
            remembered=task.checkpoints,
        )
        if self._hardware.replaced_dtype:
            reporter.event("precision", self._hardware.replaced_dtype)
        self._plan = self._train_plan()
        self._delivery = Delivery(task.output, self._method, self._encoder, reporter)

    def result(self) -> TrainResult:
        """Train, measure and write everything; give the result.

        Raises:
            TrainingFailed: not a single step could be taken, or training broke down.
        """
        task = self._task
        torch.set_num_threads(self._hardware.threads)
        disable_progress_bar()
        self._start.passed("hardware")
        evaluator = Evaluator(self._validation, task.prepared, self._encoder, self._plan, self._reporter)
        model_bytes = sum(path.stat().st_size for path in self._base.folder.glob("*.safetensors"))
        measuring = Measuring(task, evaluator, self._reporter, deadline=self._deadline, model_bytes=model_bytes)
        loaded = self._loaded(self._method.base_dtype(self._hardware.dtype))
        tuned = self._method.attach(loaded, seed=self._plan.seed)
        parameters = sum(one.numel() for one in trainable_parameters(tuned).values())
        first_adapter = fingerprint(tuned) if self._method.saves_adapter else ""
        self._start.passed("model")
        found_rate = self._probed_rate(tuned)
        if found_rate is not None:
            self._start.passed("learning rate")
        losses = self._epoch_losses(tuned, evaluator, measuring)
        trained = self._trained(tuned, measuring, losses)
        artifacts.empty(task.output)
        self._delivery.write_adapter(tuned, self._base.name)
        model, merge = self._finished(tuned)
        measured = measuring.tuned(model, steps=trained.steps)
        serving = delivery.serving_of(
            self._base,
            model,
            tuning=self._spec.tuning,
            tasks=task.profile.get("tasks") or (),
            dtype=self._hardware.dtype,
            max_new_tokens=measured.max_new_tokens,
        )
        self._delivery.write_model(model, self._base.folder, serving)
        told = TrainingSummary(
            job_name=task.job_name,
            candidate_name=str(task.candidate["name"]),
            spec=self._spec,
            profile=task.profile,
            base_model=self._base,
            template=self._encoder.template,
            method=self._told_method(),
            plan=self._plan,
            hardware=self._hardware,
            trained=trained,
            trained_parameters=parameters,
            first_adapter=first_adapter,
            found_rate=found_rate,
            epoch_losses=losses.whole(measured, trained.records[-1]),
            merge=merge,
            base=None,
            tuned=measured,
        )
        self._delivery.write_peer_folder(tuned, told)
        del loaded, tuned, model  # the base takes their place
        base = measuring.base(lambda: self._loaded(self._hardware.dtype).model, measured)
        summary = replace(told, base=None if base is None else base.on_rows_of(measured))
        self._delivery.write_records(summary)
        return delivery.result_of(summary, self._method)

    def _loaded(self, dtype: DtypeName) -> LoadedModel:
        loaded = models.load(self._base.folder, dtype=dtype, attention="sdpa")
        loaded.model.to(self._hardware.device)
        return loaded

    def _cache(self, name: str) -> TokenCache:
        cache = TokenCache.open(self._task.prepared / name)
        known = self._task.profile["cache"][name]
        if cache.digest != known:
            raise InvalidData(
                where=f"prepared {name} rows",
                found=cache.digest,
                problem=f"are not those that were checked ({known})",
                fix="create the job again",
            )
        return cache

    def _source_prompt(self) -> SourcePrompt | None:
        """Give the source prompt that the job begins with."""
        method = self._spec.method
        name = method.prompt_tuning_init_source_model
        if method.prompt_tuning_init_method not in SOURCE_METHODS or not name:
            return None
        return kept.begun_with(
            name,
            digest=method.prompt_tuning_init_source_digest,
            source_prompts=self._task.source_prompts,
            checkpoints=self._task.checkpoints,
        )

    def _told_method(self) -> dict[str, Json]:
        """Give the method's settings, and of a source prompt what it was."""
        told = asdict(self._method)
        return (
            told if self._source is None else told | {"source": self._source.name, "source_sha256": self._source.digest}
        )

    def _probed_rate(self, tuned: torch.nn.Module) -> FoundRate | None:
        """Take the learning rate that a probe finds, where none was given."""
        if self._spec.learning_rate is not None:
            return None
        found = learning_rate.find(
            tuned,
            self._training,
            self._plan,
            tuning=self._spec.tuning,
            remembered=self._task.checkpoints,
            seconds_left=self._deadline - clock.monotonic(),
            reporter=self._reporter,
        )
        self._plan = replace(self._plan, learning_rate=found.rate)
        return found

    def _epoch_losses(self, tuned: torch.nn.Module, evaluator: Evaluator, measuring: Measuring) -> EpochLosses:
        return EpochLosses(
            tuned,
            evaluator,
            self._plan,
            checkpoints=self._task.checkpoints,
            reporter=self._reporter,
            deadline=measuring.training_deadline,
        )

    def _train_plan(self) -> TrainPlan:
        rate = self._spec.learning_rate
        return TrainPlan(
            epochs=self._spec.epochs,
            batch_size=self._spec.batch_size * self._spec.method.accumulate_steps,
            learning_rate=DOCUMENTED_RATES[self._spec.tuning] if rate is None else rate,
            warmup_steps=self._spec.warmup_steps,
            seed=self._spec.seed,
            max_pack_tokens=self._hardware.max_pack_tokens,
            micro_batch=self._hardware.micro_batch,
            dtype=self._hardware.dtype,
            threads=self._hardware.threads,
            weight_decay=0.0,
            grad_clip=1.0,
            schedule="cosine",
        )

    def _trained(self, tuned: torch.nn.Module, measuring: Measuring, losses: EpochLosses) -> TrainOutcome:
        is_first = not any(self._task.checkpoints.glob("step-*"))

        def heard(record: StepRecord) -> None:
            measuring.heard(record)
            if is_first and record.step == 1:
                self._start.passed("first step")
                self._start.tell(self._reporter)
            losses.heard(record)

        trained = loop.train(
            tuned,
            self._training,
            self._plan,
            checkpoints=self._task.checkpoints,
            reporter=self._reporter,
            deadline=measuring.training_deadline,
            checkpoint_seconds=self._task.checkpoint_seconds,
            on_step=heard,
        )
        if trained.steps:
            return trained
        if trained.ended_by == "stop":
            raise TrainingFailed("The job was stopped before its first training step, so there is no model to keep.")
        raise TrainingFailed(
            f"The time limit ({self._seconds:.0f} s were left for this candidate) ended before the first training step."
            " Raise MaxRuntimePerTrainingJobInSeconds or MaxAutoMLJobRuntimeInSeconds."
        )

    def _finished(self, tuned: torch.nn.Module) -> tuple[torch.nn.Module, MergeCheck | None]:
        """Give the model as it is served: with what was trained in its weights, or before its texts."""
        if not self._method.merges:
            return tuned, None
        return merging.merged(
            self._method, tuned, self._validation, dtype=self._hardware.dtype, reporter=self._reporter
        )
