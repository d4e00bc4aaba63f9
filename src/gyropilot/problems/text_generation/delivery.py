"""What a finished training leaves and tells: its model folder and archive, its records, its TrainResult.

    merged     model/ holds the whole model; beside the base's store it is served as its adapter, where that is a LoRA
    unmerged   model/ and the archive hold no weights of the base: what stands before texts is served on the base of
               the store, which is known by its digest

Called by training_run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from gyropilot import clock
from gyropilot.problems.archives import write_archive
from gyropilot.problems.contract import Container, Json, Reporter, TrainResult
from gyropilot.problems.text_generation import artifacts, file_names, report, virtual_tokens
from gyropilot.problems.text_generation import verbalizer as verbalizers
from gyropilot.problems.text_generation.base_model import BaseModelFacts
from gyropilot.problems.text_generation.models import DtypeName
from gyropilot.problems.text_generation.serving.environment import OUTPUTS
from gyropilot.problems.text_generation.summary import TrainingSummary, versions
from gyropilot.problems.text_generation.templates import Encoder
from gyropilot.problems.text_generation.tuning import peer_folder, prompted
from gyropilot.problems.text_generation.tuning.method import Method
from gyropilot.problems.text_generation.tuning.methods import shares_base
from gyropilot.problems.text_generation.tuning.peer_folder import PeerFacts
from gyropilot.problems.text_generation.tuning.specification import PROMPT_TYPES, OutputModelType, TuningType

_NO_PLACE = "PEFT has no place for rows on these sides; adapter/ is kept by names that it does not load"
_NO_VERBALIZER = "no verbalizer gives the tokens of the model's own template, so caikit/ is left out; tune with one"
_SIDES: Mapping[str, OutputModelType] = {"encoder": "ENCODER", "decoder": "DECODER"}


class Delivery:
    """Fills one output folder."""

    def __init__(self, output: Path, method: Method, encoder: Encoder, reporter: Reporter) -> None:
        self._output, self._method, self._encoder, self._reporter = output, method, encoder, reporter

    def write_adapter(self, tuned: torch.nn.Module, base_name: str) -> None:
        """Write what was trained as an adapter's folder, where that makes sense beside the base."""
        if self._method.saves_adapter:
            self._method.save(tuned, self._output / artifacts.ADAPTER)
            artifacts.write_adapter_names(self._output / artifacts.ADAPTER, base_name)
            if (self._output / artifacts.ADAPTER / file_names.OWN_CONFIG).exists():
                self._reporter.event("adapter", _NO_PLACE)

    def write_model(self, model: torch.nn.Module, base: Path, serving: Mapping[str, Json]) -> None:
        """Write the model folder and the archive: with all weights, or with the adapter on a base of the store."""
        self._reporter.progress("saving", done=0, total=2, unit="parts")
        weights = model if self._method.merges else None
        artifacts.write_model(self._output / artifacts.MODEL, weights, base, self._encoder, serving)
        self._reporter.progress("saving", done=1, total=2, unit="parts")
        within = {artifacts.ADAPTER: self._output / artifacts.ADAPTER} if shares_base(self._method) else {}
        write_archive(self._output / artifacts.MODEL, self._output / artifacts.ARCHIVE, within=within)
        self._reporter.progress("saving", done=2, total=2, unit="parts")

    def write_peer_folder(self, tuned: torch.nn.Module, summary: TrainingSummary) -> None:
        """Write the rows as caikit-nlp has them, of a prompt of one task; tell where it has no way to ask for one."""
        if not _is_of_peer(summary):
            return
        verbalizer = _peer_verbalizer(summary)
        if verbalizer is None:
            self._reporter.event("caikit", _NO_VERBALIZER)
            return
        config = json.loads((summary.base_model.folder / "config.json").read_text(encoding="utf-8"))
        facts = PeerFacts(
            base_model_name=summary.base_model.name,
            base_model_config=config,
            eos_token=self._encoder.end_text,
            task_type="SEQ_2_SEQ_LM" if self._encoder.template.has_encoder else "CAUSAL_LM",
            tuning_type=summary.spec.tuning,
            trained_torch_dtype=summary.hardware.dtype,
            verbalizer=verbalizer,
        )
        peer_folder.write(
            self._output / peer_folder.FOLDER,
            rows={_SIDES[side]: one for side, one in prompted.effective(tuned, 0).items()},
            facts=facts,
            records=summary.trained.records,
            ended_at=clock.now(),
        )

    def write_records(self, summary: TrainingSummary) -> None:
        """Write step records, measurements, lineage and report."""
        output = self._output
        artifacts.write_lines(output / artifacts.TRAINING, (asdict(one) for one in summary.trained.records))
        artifacts.write_json(output / artifacts.EVALUATION, summary.evaluation())
        artifacts.write_json(output / artifacts.LINEAGE, summary.lineage())
        (output / artifacts.REPORT).write_text(report.html(summary), encoding="utf-8")


def serving_of(
    base: BaseModelFacts,
    model: torch.nn.Module,
    *,
    tuning: TuningType,
    tasks: Sequence[str],
    dtype: DtypeName,
    max_new_tokens: int,
) -> dict[str, Json]:
    """Give the content of gyropilot-serving.json: what serving must know of `model`, as it was measured."""
    return {
        "format": 1,
        "problem": "TextGeneration",
        "base_model": base.name,
        "base_model_digest": base.digest,
        "stands_in_for": base.stands_in_for,
        "tuning": tuning,
        "virtual_tokens": virtual_tokens.count_of(model),
        "tasks": list(tasks),
        "dtype": dtype,
        "model_tokens": base.model_tokens,
        "max_new_tokens": max_new_tokens,
        "gyropilot": versions().get("gyropilot", ""),
    }


def result_of(summary: TrainingSummary, method: Method) -> TrainResult:
    """Give what the candidate came to."""
    base = summary.base_model
    environment = {
        "GYROPILOT_PROBLEM": "TextGeneration",
        "GYROPILOT_BASE_MODEL": base.name,
        "GYROPILOT_MAX_NEW_TOKENS": str(summary.tuned.max_new_tokens),
        "SAGEMAKER_INFERENCE_SUPPORTED": ",".join(OUTPUTS),
        "SAGEMAKER_INFERENCE_OUTPUT": OUTPUTS[0],
    }
    if base.stands_in_for:
        environment["GYROPILOT_STANDS_IN_FOR"] = base.stands_in_for
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
                shares=f"{base.digest}:{summary.hardware.dtype}" if shares_base(method) else "",
            ),
        ),
        artifacts={
            "model": artifacts.MODEL,
            **({"adapter": artifacts.ADAPTER} if method.saves_adapter else {}),
            **({"caikit": peer_folder.FOLDER} if _has_peer_folder(summary) else {}),
            "evaluation": artifacts.EVALUATION,
            "training": artifacts.TRAINING,
            "lineage": artifacts.LINEAGE,
            "report": artifacts.REPORT,
        },
        chosen=summary.chosen(),
        ended_by=summary.trained.ended_by,
    )


def _has_peer_folder(summary: TrainingSummary) -> bool:
    return _is_of_peer(summary) and _peer_verbalizer(summary) is not None


def _is_of_peer(summary: TrainingSummary) -> bool:
    return summary.spec.tuning in PROMPT_TYPES and len(summary.profile.get("tasks") or ()) < 2


def _peer_verbalizer(summary: TrainingSummary) -> str | None:
    """Give what makes caikit-nlp ask as was trained; None where no verbalizer does, as the template adds no start."""
    if summary.spec.method.verbalizer is not None:
        return summary.spec.method.verbalizer
    folder, style = summary.base_model.folder, summary.base_model.template_style
    own = Encoder.of_base_model(folder, style=style)
    verbalizer = own.text_as_verbalizer
    if verbalizers.faults(verbalizer, where="verbalizer"):
        return None
    again = Encoder.of_base_model(folder, style=style, verbalizer=verbalizer)
    return verbalizer if again.check() == own.check() else None
