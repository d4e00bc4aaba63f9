"""A frozen base with trained rows before its texts: what the methods of virtual tokens give to the loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PromptLearningConfig
from safetensors.torch import save_file

from gyropilot.problems.text_generation import models
from gyropilot.problems.text_generation.tuning.specification import OutputModelType
from gyropilot.problems.text_generation.virtual_tokens import VirtualTokens

PROMPT_FILE = "prompt.safetensors"
"""Beside PEFT's files: the effective rows as they are served, `encoder` and `decoder` [n, width] in float32."""
_FORMAT = {"format": "1"}


class Prompted(torch.nn.Module):
    """A base and its virtual tokens; every way to compute asks `virtual_tokens.of` for them.

    The names of its trained parameters begin with `prompt.`.
    """

    def __init__(self, base: torch.nn.Module, prompt: torch.nn.Module, tokens: VirtualTokens) -> None:
        """Take a frozen base, the module that holds the trained parameters, and the rows as they come out of it.

        `tokens` is no module of its own, lest its parameters had two names.
        """
        super().__init__()
        self.base, self.prompt = base, prompt
        self.virtual_tokens = tokens

    def get_base_model(self) -> torch.nn.Module:
        """Give the base, as PEFT's wrappers do."""
        return self.base


@dataclass(frozen=True, kw_only=True)
class PromptRows:
    """Rows of embeddings out of one module, those before the text first, as VirtualTokens."""

    of_task: Callable[[int], torch.Tensor]
    """Gives [before_text + before_answer, width] for a task."""
    before_text: int
    before_answer: int = 0
    tasks: int = 1

    def text_rows(self, task: int) -> torch.Tensor | None:
        """Give [before_text, width]."""
        return self.of_task(task)[: self.before_text] if self.before_text else None

    def answer_rows(self, task: int) -> torch.Tensor | None:
        """Give [before_answer, width]."""
        return self.of_task(task)[self.before_text :] if self.before_answer else None

    def key_values(self, task: int) -> None:
        """Give None: all virtual tokens are rows."""


def sides_of(base: torch.nn.Module, wished: Sequence[OutputModelType]) -> tuple[OutputModelType, ...]:
    """Give the sides on which rows stand, in the order of their rows; where none was wished, the usual one."""
    if not models.architecture_of(base).is_encoder_decoder:
        return ("DECODER",)
    return tuple(side for side in ("ENCODER", "DECODER") if side in wished) or ("ENCODER",)


def rows_on(
    base: torch.nn.Module,
    sides: Sequence[OutputModelType],
    count: int,
    of_task: Callable[[int], torch.Tensor],
    *,
    tasks: int = 1,
) -> PromptRows:
    """Give `count` virtual tokens on each of `sides`: a causal model's decoder rows stand before its text."""
    if not models.architecture_of(base).is_encoder_decoder:
        return PromptRows(of_task=of_task, before_text=count, tasks=tasks)
    return PromptRows(
        of_task=of_task,
        before_text=count if "ENCODER" in sides else 0,
        before_answer=count if "DECODER" in sides else 0,
        tasks=tasks,
    )


def task_type(base: torch.nn.Module) -> str:
    """Give PEFT's name of what the model does."""
    return "SEQ_2_SEQ_LM" if models.architecture_of(base).is_encoder_decoder else "CAUSAL_LM"


def width_of(base: torch.nn.Module) -> int:
    """Give the width of the input embedding: that of a row."""
    return int(models.embedding_of(base).shape[1])


@torch.no_grad()
def effective(tuned: torch.nn.Module, task: int) -> dict[str, torch.Tensor]:
    """Give the rows that stand before texts of `task`, as served and exported: float32, detached, on the CPU.

    Keys are `encoder` and `decoder`, each [n, width], those that there are; a causal model's rows are `decoder`.
    """
    assert isinstance(tuned, Prompted)
    tokens = tuned.virtual_tokens
    is_causal = not models.architecture_of(tuned).is_encoder_decoder
    rows = {"decoder" if is_causal else "encoder": tokens.text_rows(task)}
    if not is_causal:
        rows["decoder"] = tokens.answer_rows(task)
    return {side: _kept(one) for side, one in rows.items() if one is not None}


def save_prompt(tuned: Prompted, folder: Path, config: PromptLearningConfig, tensors: dict[str, torch.Tensor]) -> None:
    """Write a folder that PEFT loads, and what is served: the rows of the first task, of others as `<side>.<task>`."""
    save_adapter(folder, config, tensors)
    served = effective(tuned, 0)
    for task in range(1, tuned.virtual_tokens.tasks):
        served |= {f"{side}.{task}": one for side, one in effective(tuned, task).items()}
    save_file(served, folder / PROMPT_FILE, metadata=_FORMAT)


def save_adapter(folder: Path, config: PromptLearningConfig, tensors: dict[str, torch.Tensor]) -> None:
    """Write a folder that PEFT loads."""
    folder.mkdir(parents=True, exist_ok=True)
    config.inference_mode = True
    config.save_pretrained(str(folder))
    save_file({name: _kept(one) for name, one in tensors.items()}, folder / "adapter_model.safetensors")


def _kept(one: torch.Tensor) -> torch.Tensor:
    return one.detach().float().cpu().clone().contiguous()
