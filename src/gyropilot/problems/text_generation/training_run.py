"""One candidate's way from its base model to its artifacts; train.py starts it once the process is prepared."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, replace

import torch
from transformers.utils.logging import disable_progress_bar

from gyropilot import clock
from gyropilot.errors import InvalidData, TrainingFailed
from gyropilot.problems.archives import write_archive
from gyropilot.problems.contract import Container, Json, Reporter, TrainResult, TrainTask
from gyropilot.problems.text_generation import artifacts, batches, loop, models, report
from gyropilot.problems.text_generation.base_model import BaseModelFacts
from gyropilot.problems.text_generation.batches import Example, TokenCache
from gyropilot.problems.text_generation.evaluate import Evaluation, Evaluator
from gyropilot.problems.text_generation.generation import first_logits
from gyropilot.problems.text_generation.hardware import plan_hardware
from gyropilot.problems.text_generation.loop import StepRecord, TrainOutcome, TrainPlan
from gyropilot.problems.text_generation.measuring import Measuring
from gyropilot.problems.text_generation.models import DtypeName, LoadedModel
from gyropilot.problems.text_generation.plain import PlainForward
from gyropilot.problems.text_generation.request import read_spec
from gyropilot.problems.text_generation.serving.environment import OUTPUTS
from gyropilot.problems.text_generation.starting import Start
from gyropilot.problems.text_generation.summary import MergeCheck, TrainingSummary, versions
from gyropilot.problems.text_generation.templates import Encoder
from gyropilot.problems.text_generation.tuning.lora import fingerprint
from gyropilot.problems.text_generation.tuning.methods import method_of

_COPIES = 4
"""Model and archive in the output folder, and again in an embedded object store on the same disk."""
_CHECKED_LABELS = 400
"""The merge is checked on as many rows as have these; on fewer labels the rounding of single logits is all one sees."""
_CHECKED_ROWS = 32
_MERGE_TOLERANCE = 0.05
"""Loss change by merging from which an event speaks of it."""


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
        self._method = method_of(self._spec.method)
        self._hardware = plan_hardware(
            self._base.folder,
            tuning=self._spec.tuning,
            cores=task.cores,
            memory_bytes=task.memory_bytes,
            longest_example=max(int(cache.lengths.max()) for cache in (self._training, self._validation)),
            remembered=task.checkpoints,
        )
        self._plan = self._train_plan()

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
        first_adapter = fingerprint(tuned) if self._method.saves_adapter else ""
        self._start.passed("model")
        trained = self._trained(tuned, measuring)
        artifacts.empty(task.output)
        if self._method.saves_adapter:
            self._method.save(tuned, task.output / artifacts.ADAPTER)
            artifacts.write_adapter_names(task.output / artifacts.ADAPTER, self._base.name)
        merged, merge = self._merged(tuned)
        measured = measuring.tuned(merged, steps=trained.steps)
        self._write_model(merged, measured)
        del loaded, tuned, merged  # the base takes their place
        base = measuring.base(lambda: self._loaded(self._hardware.dtype).model, measured)
        summary = TrainingSummary(
            job_name=task.job_name,
            candidate_name=str(task.candidate["name"]),
            spec=self._spec,
            profile=task.profile,
            base_model=self._base,
            template=self._encoder.template,
            method=asdict(self._method),
            plan=self._plan,
            hardware=self._hardware,
            trained=trained,
            first_adapter=first_adapter,
            merge=merge,
            base=None if base is None else base.on_rows_of(measured),
            tuned=measured,
        )
        self._write_records(summary)
        return self._told(summary)

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

    def _train_plan(self) -> TrainPlan:
        return TrainPlan(
            epochs=self._spec.epochs,
            batch_size=self._spec.batch_size,
            learning_rate=self._spec.learning_rate,
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

    def _trained(self, tuned: torch.nn.Module, measuring: Measuring) -> TrainOutcome:
        is_first = not any(self._task.checkpoints.glob("step-*"))

        def heard(record: StepRecord) -> None:
            measuring.heard(record)
            if is_first and record.step == 1:
                self._start.passed("first step")
                self._start.tell(self._reporter)

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

    def _merged(self, tuned: torch.nn.Module) -> tuple[torch.nn.Module, MergeCheck]:
        examples = self._checked_rows()
        loss_before, logits_before = _loss(tuned, examples), self._logits(tuned)
        merged = self._method.merge(tuned, dtype=self._hardware.dtype)
        check = MergeCheck(
            rows=len(examples),
            labels=sum(len(one.answer_ids) for one in examples),
            loss_before=loss_before,
            loss_after=_loss(merged, examples),
            largest_logit_change=float((self._logits(merged) - logits_before).abs().max()),
        )
        if check.labels >= _CHECKED_LABELS and abs(check.loss_after - check.loss_before) > _MERGE_TOLERANCE:
            exact = "; the adapter itself is exact" if self._method.saves_adapter else ""
            message = (
                f"rounding the tuned weights to {self._hardware.dtype} changed the loss of {check.rows} rows from"
                f" {check.loss_before:.3f} to {check.loss_after:.3f}; the metrics are of the rounded model{exact}"
            )
            self._reporter.event("merge", message, detail=asdict(check))
        return merged, check

    def _checked_rows(self) -> list[Example]:
        """Give the first validation rows, until they have enough labels."""
        rows: list[Example] = []
        labels = 0
        for one in itertools.islice(self._validation, _CHECKED_ROWS):
            rows.append(one)
            labels += len(one.answer_ids)
            if labels >= _CHECKED_LABELS:
                break
        return rows

    def _logits(self, model: torch.nn.Module) -> torch.Tensor:
        """Give [vocabulary]: the logits after the first validation row's prompt, in float32."""
        return first_logits(model, self._validation[0].prompt_ids.tolist())

    def _write_model(self, merged: torch.nn.Module, measured: Evaluation) -> None:
        output = self._task.output
        self._reporter.progress("saving", done=0, total=2, unit="parts")
        artifacts.write_model(
            output / artifacts.MODEL, merged, self._base.folder, self._encoder, self._serving(measured)
        )
        self._reporter.progress("saving", done=1, total=2, unit="parts")
        within = {artifacts.ADAPTER: output / artifacts.ADAPTER} if self._method.saves_adapter else {}
        write_archive(output / artifacts.MODEL, output / artifacts.ARCHIVE, within=within)
        self._reporter.progress("saving", done=2, total=2, unit="parts")

    def _write_records(self, summary: TrainingSummary) -> None:
        output = self._task.output
        artifacts.write_lines(output / artifacts.TRAINING, (asdict(one) for one in summary.trained.records))
        artifacts.write_json(output / artifacts.EVALUATION, summary.evaluation())
        artifacts.write_json(output / artifacts.LINEAGE, summary.lineage())
        (output / artifacts.REPORT).write_text(report.html(summary), encoding="utf-8")

    def _serving(self, measured: Evaluation) -> dict[str, Json]:
        return {
            "format": 1,
            "problem": "TextGeneration",
            "base_model": self._base.name,
            "base_model_digest": self._base.digest,
            "stands_in_for": self._base.stands_in_for,
            "tuning": self._spec.tuning,
            "dtype": self._hardware.dtype,
            "model_tokens": self._base.model_tokens,
            "max_new_tokens": measured.max_new_tokens,
            "gyropilot": versions().get("gyropilot", ""),
        }

    def _told(self, summary: TrainingSummary) -> TrainResult:
        environment = {
            "GYROPILOT_PROBLEM": "TextGeneration",
            "GYROPILOT_BASE_MODEL": self._base.name,
            "GYROPILOT_MAX_NEW_TOKENS": str(summary.tuned.max_new_tokens),
            "SAGEMAKER_INFERENCE_SUPPORTED": ",".join(OUTPUTS),
            "SAGEMAKER_INFERENCE_OUTPUT": OUTPUTS[0],
        }
        if self._base.stands_in_for:
            environment["GYROPILOT_STANDS_IN_FOR"] = self._base.stands_in_for
        return TrainResult(
            score=summary.tuned.loss,
            score_name="ValidationLoss",
            direction="Minimize",
            metrics=summary.metrics(),
            containers=(
                Container(
                    image=f"gyropilot/text-generation:{versions().get('gyropilot', 'dev')}",
                    model_path=artifacts.ARCHIVE,
                    environment=environment,
                    shares=f"{self._base.digest}:{self._hardware.dtype}" if self._method.saves_adapter else "",
                ),
            ),
            artifacts={
                "model": artifacts.MODEL,
                **({"adapter": artifacts.ADAPTER} if self._method.saves_adapter else {}),
                "evaluation": artifacts.EVALUATION,
                "training": artifacts.TRAINING,
                "lineage": artifacts.LINEAGE,
                "report": artifacts.REPORT,
            },
            ended_by=summary.trained.ended_by,
        )


@torch.inference_mode()
def _loss(model: torch.nn.Module, examples: Sequence[Example]) -> float:
    """Give the mean loss of a label, each row computed alone by the model's own code."""
    way = PlainForward(model)
    total = sum(float(way.loss_sum(batches.pack([one]))) for one in examples)
    return total / sum(len(one.answer_ids) for one in examples)
