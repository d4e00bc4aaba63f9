"""A frozen base with trained rows before its texts: what the methods of virtual tokens give to the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftType, PromptLearningConfig
from safetensors.torch import save_file

from gyropilot.problems.text_generation import file_names, models
from gyropilot.problems.text_generation.embeddings import embedding_of
from gyropilot.problems.text_generation.models import DtypeName
from gyropilot.problems.text_generation.tuning.specification import OutputModelType
from gyropilot.problems.text_generation.virtual_tokens import VirtualTokens


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


class Unmerged:
    """What all methods of virtual tokens say alike: the base is only read, and stays as it is in what is served."""

    @property
    def saves_adapter(self) -> bool:
        """Give true."""
        return True

    @property
    def merges(self) -> bool:
        """Give false: what stands before a text is no change of weights."""
        return False

    def base_dtype(self, fastest: DtypeName) -> DtypeName:
        """Give `fastest`: the base is only read."""
        return fastest

    def merge(self, tuned: torch.nn.Module, *, dtype: DtypeName) -> torch.nn.Module:
        """Raise: see `merges`."""
        raise NotImplementedError("virtual tokens cannot be merged into weights")


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


def config_fields(base: torch.nn.Module, *, count: int, sides: Sequence[OutputModelType]) -> dict[str, Any]:
    """Give what PEFT's configs of all these methods have in common; it guesses none of it right for every family."""
    config = cast(Any, base).config
    return {
        "task_type": "SEQ_2_SEQ_LM" if models.architecture_of(base).is_encoder_decoder else "CAUSAL_LM",
        "num_virtual_tokens": count,
        "token_dim": embedding_of(base).embedding_dim,
        "num_transformer_submodules": len(sides),
        "num_attention_heads": int(config.num_attention_heads),
        "num_layers": int(config.num_hidden_layers),
    }


@torch.no_grad()
def effective(tuned: torch.nn.Module, task: int) -> dict[str, torch.Tensor]:
    """Give the rows that stand before texts of `task`, as served and exported: float32, detached, on the CPU.

    Names are `encoder` and `decoder`, each [n, width], those that there are; a causal model's rows are `decoder`.
    Attention prefixes: `keys` and `values`, each [blocks, key heads, n, head width].
    """
    assert isinstance(tuned, Prompted)
    tokens = tuned.virtual_tokens
    prefixes = tokens.key_values(task)
    if prefixes is not None:
        keys, values = zip(*prefixes, strict=True)
        return {"keys": _kept(torch.stack(keys)), "values": _kept(torch.stack(values))}
    is_causal = not models.architecture_of(tuned).is_encoder_decoder
    rows = {"decoder" if is_causal else "encoder": tokens.text_rows(task)}
    if not is_causal:
        rows["decoder"] = tokens.answer_rows(task)
    return {side: _kept(one) for side, one in rows.items() if one is not None}


def save(tuned: Prompted, folder: Path, config: PromptLearningConfig, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write what was trained as PEFT does, and beside it what is served.

    prompt.safetensors holds `encoder` and `decoder`, each [n, width] in float32; prefix.safetensors `keys` and
    `values`, each [blocks, key heads, n, head width]. Of several tasks the first has these names, others
    `<name>.<task>`. Rows on sides that PEFT would read as those of another are kept by names that it does not know.

    Args:
        tuned: trained.
        folder: may be there or not.
        config: of PEFT, without a place to begin from: else loading would open that again.
        tensors: with the names that PEFT saves them under.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config.inference_mode = True
    config.save_pretrained(str(folder))
    kept = file_names.PEFT_TENSORS
    if not peft_has_place(tuned.virtual_tokens, config):
        (folder / file_names.PEFT_CONFIG).rename(folder / file_names.OWN_CONFIG)
        kept = file_names.OWN_TENSORS
    save_file({name: _kept(one) for name, one in tensors.items()}, folder / kept)
    served = effective(tuned, 0)
    file = file_names.PREFIX if "keys" in served else file_names.PROMPT
    for task in range(1, tuned.virtual_tokens.tasks):
        served |= {f"{name}.{task}": one for name, one in effective(tuned, task).items()}
    save_file(served, folder / file, metadata={"format": "1"})


def peft_has_place(tokens: VirtualTokens, config: PromptLearningConfig) -> bool:
    """Say whether PEFT would put the rows where they stand: its first go before the encoder, whichever they are.

    Only of multitask prompts it puts a second half before the decoder.
    """
    if not tokens.before_answer:
        return True
    return bool(tokens.before_text) and config.peft_type == PeftType.MULTITASK_PROMPT_TUNING


def _kept(one: torch.Tensor) -> torch.Tensor:
    return one.detach().float().cpu().clone().contiguous()
