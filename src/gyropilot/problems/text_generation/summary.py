"""All that is known at the end of one training: evaluation.json, lineage.json, report and result are told from it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from gyropilot.metrics.generation import METRICS
from gyropilot.problems.contract import Json, Metric
from gyropilot.problems.package_versions import package_versions
from gyropilot.problems.text_generation.base_model import BaseModelFacts
from gyropilot.problems.text_generation.epoch_losses import EpochLoss
from gyropilot.problems.text_generation.evaluate import Evaluation, Sample
from gyropilot.problems.text_generation.hardware import HardwarePlan
from gyropilot.problems.text_generation.loop import TrainOutcome, TrainPlan
from gyropilot.problems.text_generation.request import TextGenerationSpec, hyperparameters_of
from gyropilot.problems.text_generation.templates import PromptTemplate
from gyropilot.problems.text_generation.tuning.learning_rate import FoundRate
from gyropilot.problems.text_generation.verdict import margin_of_loss, verdict

SCORES: Mapping[str, str] = {"Rouge1": "rouge1", "Rouge2": "rouge2", "RougeL": "rougeL", "RougeLSum": "rougeLsum"}
"""Metric names and the ROUGE scores they are."""
LEARNING_RATE = "learningRate"
_PACKAGES = ("gyropilot", "torch", "transformers", "peft", "tokenizers", "safetensors", "numpy", "pyarrow", "jinja2")


@dataclass(frozen=True, kw_only=True)
class MergeCheck:
    """How the model changed when what was trained was folded into it and rounded to the precision it is served in."""

    rows: int
    labels: int
    """Of those rows; a handful says little."""
    loss_before: float
    loss_after: float
    largest_logit_change: float


@dataclass(frozen=True, kw_only=True)
class TrainingSummary:
    """One training, from its rows to its measured model."""

    job_name: str
    candidate_name: str
    spec: TextGenerationSpec
    profile: Mapping[str, Json]
    """What data.profile returned."""
    base_model: BaseModelFacts
    template: PromptTemplate
    method: Mapping[str, Json]
    plan: TrainPlan
    hardware: HardwarePlan
    trained: TrainOutcome
    trained_parameters: int
    """How many numbers were trained."""
    found_rate: FoundRate | None
    """How the learning rate was found; None: it was given."""
    epoch_losses: tuple[EpochLoss, ...]
    """On validation rows, after each epoch; the last of the finished model."""
    first_adapter: str
    """The sha256 of the adapter before the first step; empty where there is none."""
    merge: MergeCheck | None
    """None: nothing was merged, what was trained stands before texts."""
    base: Evaluation | None
    """On the rows of `tuned`, or on the first of them; None: the time was too short to measure it."""
    tuned: Evaluation

    @property
    def training_loss(self) -> float:
        """Mean loss of a label over the last epoch's steps, or over those there were."""
        last = self.trained.records[-1].epoch
        records = [one for one in self.trained.records if one.epoch > last - 1]
        return sum(one.loss * one.labels for one in records) / sum(one.labels for one in records)

    def metrics(self) -> tuple[Metric, ...]:
        """Give the candidate's metrics: those of the tuned model."""
        tuned = self.tuned
        return (
            Metric(name="TrainingLoss", split="Train", value=self.training_loss),
            Metric(name="ValidationLoss", split="Validation", value=tuned.loss),
            Metric(name="Perplexity", split="Validation", value=tuned.perplexity),
            *(Metric(name=name, split="Validation", value=tuned.score(score)) for name, score in SCORES.items()),
        )

    def base_value(self, metric: str) -> float | None:
        """Give what the untouched base model has in a metric of the validation rows."""
        if self.base is None:
            return None
        if metric in SCORES:
            return self.base.score(SCORES[metric])
        return {"ValidationLoss": self.base.loss, "Perplexity": self.base.perplexity}.get(metric)

    def compared_value(self, metric: Metric) -> float:
        """Give the tuned model's value of a metric on the rows that the base was measured on."""
        if self.base is None or metric.split == "Train":
            return metric.value
        compared = self.tuned.on_rows_of(self.base)
        if metric.name in SCORES:
            return compared.score(SCORES[metric.name])
        return compared.loss if metric.name == "ValidationLoss" else compared.perplexity

    def verdict(self) -> str:
        """Say in one sentence whether to use the tuned model, and why."""
        return verdict(
            self.base,
            self.tuned,
            leaked=sum(one["count"] for one in self.profile["findings"] if one["kind"] == "in_both_splits"),
            model=self.base_model.name,
            stands_in_for=self.base_model.stands_in_for,
        )

    def evaluation(self) -> dict[str, Json]:
        """Give the content of evaluation.json."""
        facts = {one.name: one for one in METRICS}
        return {
            "format": 1,
            "verdict": self.verdict(),
            "base_model": {"name": self.base_model.name, "stands_in_for": self.base_model.stands_in_for or None},
            "metrics": [
                {
                    "name": one.name,
                    "split": one.split,
                    "direction": facts[one.name].direction,
                    "tuned": one.value,
                    "base": self.base_value(one.name),
                    "tuned_on_rows_of_base": None if self.base is None else self.compared_value(one),
                    "margin_95": self.tuned.margin(SCORES[one.name]) if one.name in SCORES else None,
                    "formula": facts[one.name].formula,
                    "source": facts[one.name].source,
                }
                for one in self.metrics()
            ],
            "models": {
                "base": None if self.base is None else _measured(self.base),
                "tuned": _measured(self.tuned),
            },
            "loss_difference_margin_95": None if self.base is None else margin_of_loss(self.base, self.tuned),
            "rouge": {"mode": self.tuned.mode, "measure": "F", "rows": len(self.tuned.samples)},
            "generations": self.generations(),
            "epochs": [one.to_json() for one in self.epoch_losses],
            "merge": None if self.merge is None else asdict(self.merge),
            "ended_by": self.trained.ended_by,
            "findings": self.profile["findings"],
        }

    def hyperparameters(self) -> dict[str, float | str]:
        """Give every parameter that means something for the job, with the value that was trained with."""
        return hyperparameters_of(self.spec) | ({LEARNING_RATE: self.found_rate.rate} if self.found_rate else {})

    def chosen(self) -> dict[str, Json]:
        """Give the settings that training chose by itself."""
        rate = {LEARNING_RATE: self.found_rate.rate} if self.found_rate else {}
        dtype = {"torch_dtype": self.hardware.dtype} if self.hardware.replaced_dtype else {}
        return {**rate, **dtype}

    def _chooser(self, key: str) -> str:
        if key == LEARNING_RATE and self.found_rate:
            return "probe" if self.found_rate.losses else "documented rate"
        return "service default" if key in self.spec.defaulted else "request"

    def generations(self) -> list[dict[str, Json]]:
        """Give the answered validation rows, each with the tuned model's answer and, if there is one, the base's."""
        before = {one.row: one for one in self.base.samples} if self.base else {}
        return [
            {
                "place": after.place,
                "input": after.input,
                "reference": after.reference,
                "base": _answer(before.get(after.row)),
                "tuned": _answer(after),
            }
            for after in self.tuned.samples
        ]

    def lineage(self) -> dict[str, Json]:
        """Give the content of lineage.json: what the model was made of, and how."""
        profile = self.profile
        return {
            "format": 1,
            "job": self.job_name,
            "candidate": self.candidate_name,
            "base_model": self.base_model.to_json() | {"eula_accepted": self.spec.accept_eula},
            "data": {key: profile[key] for key in ("files", "rows", "split", "tokens", "limits", "cache", "findings")},
            "template": self.template.to_json() | {"digest": self.template.digest},
            "method": dict(self.method),
            "hyperparameters": {
                key: {"value": value, "chosen_by": self._chooser(key)} for key, value in self.hyperparameters().items()
            },
            "learning_rate_probe": None if self.found_rate is None else self.found_rate.to_json(),
            "plan": asdict(self.plan),
            "hardware": asdict(self.hardware) | {"machine": platform.machine(), "system": platform.system()},
            "training": {
                "steps": self.trained.steps,
                "tokens": self.trained.tokens,
                "seconds": self.trained.seconds,
                "ended_by": self.trained.ended_by,
                "resumed_at_step": self.trained.resumed_at,
                "forward": self.trained.forward,
                "parameters": self.trained_parameters,
                "first_adapter_sha256": self.first_adapter,
            },
            "merge": None if self.merge is None else asdict(self.merge),
            "versions": {"python": platform.python_version()} | versions(),
        }


def versions() -> dict[str, str]:
    """Give the versions of the packages that the result depends on."""
    return package_versions(_PACKAGES)


def _answer(sample: Sample | None) -> dict[str, Json] | None:
    return None if sample is None else {key: getattr(sample, key) for key in ("answer", "is_ended", "scores")}


def _measured(evaluation: Evaluation) -> dict[str, Json]:
    return {
        "ValidationLoss": evaluation.loss,
        "Perplexity": evaluation.perplexity,
        **{name: evaluation.score(score) for name, score in SCORES.items()},
        "labels": evaluation.labels,
        "loss_rows": evaluation.loss_rows,
        "validation_rows": evaluation.rows,
        "answered_rows": len(evaluation.samples),
        "max_new_tokens": evaluation.max_new_tokens,
        "ended_share": evaluation.ended_share,
        "seconds": evaluation.seconds,
    }
