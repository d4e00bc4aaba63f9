"""The way of tuning that a specification asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gyropilot.problems.text_generation.tuning.full import Full
from gyropilot.problems.text_generation.tuning.ia3 import Ia3
from gyropilot.problems.text_generation.tuning.lora import Lora
from gyropilot.problems.text_generation.tuning.method import Method
from gyropilot.problems.text_generation.tuning.multitask_prompt_tuning import MultitaskPromptTuning
from gyropilot.problems.text_generation.tuning.p_tuning import PTuning
from gyropilot.problems.text_generation.tuning.peft_methods import PeftMethod
from gyropilot.problems.text_generation.tuning.prefix_tuning import PrefixTuning
from gyropilot.problems.text_generation.tuning.prompt_tuning import PromptTuning
from gyropilot.problems.text_generation.tuning.specification import TuningSpec, TuningType


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What a method takes from a job besides its specification."""

    tasks: int
    source: Path | None


_METHODS: Mapping[TuningType, Callable[[TuningSpec, _Job], Method]] = {
    "LORA": lambda spec, job: Lora(
        rank=spec.lora_rank,
        alpha=spec.lora_alpha,
        dropout=spec.lora_dropout,
        targets=spec.lora_targets,
        variant=spec.lora_variant,
        init=spec.lora_init,
    ),
    "FULL": lambda spec, job: Full(),
    "PROMPT_TUNING": lambda spec, job: PromptTuning(
        num_virtual_tokens=spec.num_virtual_tokens,
        init_method=spec.prompt_tuning_init_method,
        init_text=spec.prompt_tuning_init_text,
        output_model_types=spec.output_model_types,
    ),
    "MULTITASK_PROMPT_TUNING": lambda spec, job: MultitaskPromptTuning(
        num_virtual_tokens=spec.num_virtual_tokens,
        init_method=spec.prompt_tuning_init_method,
        init_text=spec.prompt_tuning_init_text,
        output_model_types=spec.output_model_types,
        ranks=spec.prompt_ranks,
        tasks=job.tasks,
        source=job.source,
    ),
    "P_TUNING": lambda spec, job: PTuning(
        num_virtual_tokens=spec.num_virtual_tokens, output_model_types=spec.output_model_types
    ),
    "PREFIX_TUNING": lambda spec, job: PrefixTuning(
        num_virtual_tokens=spec.num_virtual_tokens,
        init_text=spec.prompt_tuning_init_text if spec.prompt_tuning_init_method == "TEXT" else None,
    ),
    "IA3": lambda spec, job: Ia3(targets=spec.lora_targets),
    "PEFT": lambda spec, job: PeftMethod(
        peft_type=spec.peft_type or "", settings=dict(spec.peft_settings), targets=spec.lora_targets
    ),
}


def method_of(spec: TuningSpec, *, tasks: int = 1, source: Path | None = None) -> Method:
    """Give the method of a specification.

    Args:
        spec: what was asked for.
        tasks: how many tasks the rows have; only multitask prompt tuning knows more than one.
        source: folder of the source prompt that rows begin with; only multitask prompt tuning takes one.
    """
    return _METHODS[spec.tuning_type](spec, _Job(tasks=tasks, source=source))


def shares_base(method: Method) -> bool:
    """Say whether what `save` writes is computed beside the base where it is served; else the merged model is."""
    return not method.merges or (isinstance(method, Lora) and method.is_plain)
