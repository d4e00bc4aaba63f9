"""One candidate's way from its base model to its artifacts; train.py starts it once the process is prepared."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from transformers.utils.logging import disable_progress_bar

from gyropilot import clock
from gyropilot.errors import InvalidData, TrainingFailed
from gyropilot.problems.contract import Container, Json, Reporter, TrainResult, TrainTask
from gyropilot.problems.text_generation import artifacts, batches, loop, models, report
from gyropilot.problems.text_generation.base_model import verified_base_model
from gyropilot.problems.text_generation.batches import Example, TokenCache
from gyropilot.problems.text_generation.evaluate import Budget, Evaluation, Evaluator, read_evaluation
from gyropilot.problems.text_generation.forward import PlainForward
from gyropilot.problems.text_generation.hardware import plan_hardware
from gyropilot.problems.text_generation.loop import TrainOutcome, TrainPlan
from gyropilot.problems.text_generation.request import read_spec
from gyropilot.problems.text_generation.summary import MergeCheck, TrainingSummary, versions
from gyropilot.problems.text_generation.templates import Encoder
from gyropilot.problems.text_generation.tuning.lora import Lora, fingerprint

BASE_EVALUATION = "base_evaluation.json"
TUNED_EVALUATION = "tuned_evaluation.json"

_LOSS_SHARE, _ANSWER_SHARE = 0.15, 0.1
"""Most of the candidate's time that measuring the base may take, for the loss and for the answers."""
_LATE_SECONDS = 20.0
"""What the tuned model's loss, and its answers, may take each once a stop or the end of the time came."""
_RESERVE_FACTOR = 1.3
_SAVE_SECONDS, _SAVE_SECONDS_PER_GIB = 5.0, 40.0
_COPIES = 4
"""Model and archive in the output folder, and again in an embedded object store on the same disk."""
_CHECKED_ROWS = 4
_MERGE_TOLERANCE = 0.05
"""Loss change by merging from which an event speaks of it."""


class TrainingRun:
    """The stages of one TrainTask."""

    def __init__(self, task: TrainTask, reporter: Reporter) -> None:
        self._task, self._reporter = task, reporter
        self._seconds = math.inf if task.seconds_left is None else task.seconds_left
        self._deadline = clock.monotonic() + self._seconds
        proposed = {name: value for name, value in task.candidate.items() if name != "name"}
        self._spec = replace(read_spec(task.spec), **proposed)
        self._base = verified_base_model(task.base_models, self._spec.loaded_model, requested=self._spec.base_model)
        self._encoder = Encoder.of_base_model(self._base.folder, style=self._base.template_style)
        self._training, self._validation = self._cache("training"), self._cache("validation")
        self._hardware = plan_hardware(
            self._base.folder,
            cores=task.cores,
            memory_bytes=task.memory_bytes,
            longest_example=max(one.length for cache in (self._training, self._validation) for one in cache),
            remembered=task.checkpoints,
        )
        self._plan = self._train_plan()
        self._method = Lora()

    def result(self) -> TrainResult:
        """Train, measure and write everything; give the result.

        Raises:
            TrainingFailed: not a single step could be taken, or training broke down.
        """
        task = self._task
        torch.set_num_threads(self._hardware.threads)
        disable_progress_bar()
        loaded = models.load(self._base.folder, dtype=self._hardware.dtype, attention="sdpa")
        loaded.model.to(self._hardware.device)
        evaluator = Evaluator(self._validation, task.prepared, self._encoder, self._plan, self._reporter)
        base = self._measured_base(evaluator, loaded.model)
        tuned = self._method.attach(loaded, seed=self._plan.seed)
        first_adapter = fingerprint(tuned)
        trained = self._trained(tuned, base)
        artifacts.empty(task.output)
        self._method.save(tuned, task.output / artifacts.ADAPTER)
        artifacts.write_adapter_names(task.output / artifacts.ADAPTER, self._base.name)
        merged, merge = self._merged(tuned)
        measured = self._measured_tuned(evaluator, merged, base, trained)
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
            base=base.on_rows_of(measured),
            tuned=measured,
        )
        self._write(merged, summary)
        return self._told(summary)

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

    def _measured_base(self, evaluator: Evaluator, model: torch.nn.Module) -> Evaluation:
        file = self._task.checkpoints / BASE_EVALUATION
        if file.exists():
            return read_evaluation(json.loads(file.read_text(encoding="utf-8")))
        budget = evaluator.whole(
            loss_seconds=_LOSS_SHARE * self._seconds,
            answer_seconds=min(self._task.evaluation_seconds, _ANSWER_SHARE * self._seconds),
        )
        found = evaluator.evaluate(model, budget, phase="evaluating base", is_given_up=self._reporter.stop_requested)
        if found is None:
            raise TrainingFailed("The job was stopped before its first training step, so there is no model to keep.")
        _write_whole(file, found.to_json())
        return found

    def _trained(self, tuned: torch.nn.Module, base: Evaluation) -> TrainOutcome:
        trained = loop.train(
            tuned,
            self._training,
            self._plan,
            checkpoints=self._task.checkpoints,
            reporter=self._reporter,
            deadline=self._training_deadline(base),
            checkpoint_seconds=self._task.checkpoint_seconds,
            on_step=lambda record: None,
        )
        if trained.steps:
            return trained
        if trained.ended_by == "stop":
            raise TrainingFailed("The job was stopped before its first training step, so there is no model to keep.")
        raise TrainingFailed(
            f"The time limit ({self._seconds:.0f} s were left for this candidate) ended before the first training step;"
            f" measuring the base model alone took {base.seconds:.0f} s. Raise MaxRuntimePerTrainingJobInSeconds"
            " or MaxAutoMLJobRuntimeInSeconds, or give fewer validation rows."
        )

    def _training_deadline(self, base: Evaluation) -> float | None:
        """Give when training must end so that measuring and saving still fit; half the time left is always its own."""
        if math.isinf(self._seconds):
            return None
        size = sum(path.stat().st_size for path in self._base.folder.glob("*.safetensors")) / 2**30
        reserve = _RESERVE_FACTOR * base.seconds + _SAVE_SECONDS + _SAVE_SECONDS_PER_GIB * size
        left = self._deadline - clock.monotonic()
        return self._deadline - min(reserve, max(0.0, left / 2))

    def _merged(self, tuned: torch.nn.Module) -> tuple[torch.nn.Module, MergeCheck]:
        examples = self._validation[:_CHECKED_ROWS]
        loss_before, logits_before = _loss(tuned, examples), self._logits(tuned)
        merged = self._method.merge(tuned)
        check = MergeCheck(
            rows=len(examples),
            loss_before=loss_before,
            loss_after=_loss(merged, examples),
            largest_logit_change=float((self._logits(merged) - logits_before).abs().max()),
        )
        if abs(check.loss_after - check.loss_before) > _MERGE_TOLERANCE:
            message = (
                f"merging the adapter changed the loss of {check.rows} rows from {check.loss_before:.3f} to"
                f" {check.loss_after:.3f}: the base's precision is coarse; the adapter itself is exact"
            )
            self._reporter.event("merge", message, detail=asdict(check))
        return merged, check

    @torch.inference_mode()
    def _logits(self, model: torch.nn.Module) -> torch.Tensor:
        """Give [vocabulary]: the logits after the first validation row's prompt, in float32."""
        prompt = torch.from_numpy(self._validation[0].prompt_ids.astype("int64"))[None]
        head = models.head_of(model)
        output = models.body_of(model)(input_ids=prompt.to(head.weight.device), use_cache=False)
        return head(output.last_hidden_state[0, -1]).float().cpu()  # type: ignore[no-any-return]

    def _measured_tuned(
        self, evaluator: Evaluator, merged: torch.nn.Module, base: Evaluation, trained: TrainOutcome
    ) -> Evaluation:
        """Measure the tuned model on the base's rows; after a stop on as many as a short time allows."""
        file = self._task.checkpoints / TUNED_EVALUATION
        if file.exists():
            saved = json.loads(file.read_text(encoding="utf-8"))
            if saved["steps"] == trained.steps:
                return read_evaluation(saved["evaluation"])
        late = _LATE_SECONDS if trained.ended_by == "stop" else math.inf
        left = self._deadline - clock.monotonic()
        budget = Budget(
            loss_rows=base.loss_rows,
            loss_seconds=min(late, left / 2),
            answer_rows=len(base.samples),
            answer_seconds=min(late, left / 3),
        )
        found = evaluator.evaluate(merged, budget, phase="evaluating tuned", is_given_up=lambda: False)
        assert found is not None
        _write_whole(file, {"steps": trained.steps, "evaluation": found.to_json()})
        return found

    def _write(self, merged: torch.nn.Module, summary: TrainingSummary) -> None:
        output, parts = self._task.output, ("model", "archive", "records")
        for done, part in enumerate(parts):
            self._reporter.progress("saving", done=done, total=len(parts), unit="parts")
            if part == "model":
                artifacts.write_model(
                    output / artifacts.MODEL, merged, self._base.folder, self._encoder, self._serving(summary)
                )
            elif part == "archive":
                artifacts.write_archive(output / artifacts.MODEL, output / artifacts.ARCHIVE)
            else:
                artifacts.write_lines(output / artifacts.TRAINING, (asdict(one) for one in summary.trained.records))
                artifacts.write_json(output / artifacts.EVALUATION, summary.evaluation())
                artifacts.write_json(output / artifacts.LINEAGE, summary.lineage())
                (output / artifacts.REPORT).write_text(report.html(summary), encoding="utf-8")
        self._reporter.progress("saving", done=len(parts), total=len(parts), unit="parts")

    def _serving(self, summary: TrainingSummary) -> dict[str, Json]:
        return {
            "format": 1,
            "problem": "TextGeneration",
            "base_model": self._base.name,
            "stands_in_for": self._base.stands_in_for,
            "dtype": self._hardware.dtype,
            "model_tokens": self._base.model_tokens,
            "max_new_tokens": summary.tuned.max_new_tokens,
            "gyropilot": versions().get("gyropilot", ""),
        }

    def _told(self, summary: TrainingSummary) -> TrainResult:
        environment = {
            "GYROPILOT_PROBLEM": "TextGeneration",
            "GYROPILOT_BASE_MODEL": self._base.name,
            "GYROPILOT_MAX_NEW_TOKENS": str(summary.tuned.max_new_tokens),
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
                ),
            ),
            artifacts={
                "model": artifacts.MODEL,
                "adapter": artifacts.ADAPTER,
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


def _write_whole(file: Path, content: Mapping[str, Json]) -> None:
    partial = file.with_name(file.name + ".partial")
    partial.write_text(json.dumps(content), encoding="utf-8")
    partial.replace(file)
