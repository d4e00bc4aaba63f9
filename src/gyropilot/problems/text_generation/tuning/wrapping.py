"""Puts what PEFT builds round a base, saves it, and folds it in; called by the methods that PEFT has the layers of."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftConfig, PeftModel, get_peft_model

from gyropilot.errors import TrainingFailed
from gyropilot.problems.text_generation.models import DTYPES, DtypeName, LoadedModel, head_of, trainable_parameters


class Folded:
    """What the methods have in common whose layers are saved as an adapter and folded into the base."""

    @property
    def saves_adapter(self) -> bool:
        """Give true."""
        return True

    @property
    def merges(self) -> bool:
        """Give true: what they add or multiply becomes part of the weights."""
        return True

    def base_dtype(self, fastest: DtypeName) -> DtypeName:
        """Give `fastest`: the base is only read."""
        return fastest

    def save(self, tuned: torch.nn.Module, folder: Path) -> None:
        """Write a PEFT adapter folder."""
        save(tuned, folder)

    def merge(self, tuned: torch.nn.Module, *, dtype: DtypeName) -> torch.nn.Module:
        """Fold what was trained into the weights in float32, rounded once."""
        return fold(tuned, dtype=dtype)


def task_type(loaded: LoadedModel) -> str:
    """Give what PEFT calls models of this kind."""
    return "SEQ_2_SEQ_LM" if loaded.architecture.is_encoder_decoder else "CAUSAL_LM"


def linear_targets(loaded: LoadedModel, wished: Sequence[str]) -> list[str]:
    """Give the last names of the linear layers to adapt: those that were wished for, or all of the blocks.

    Raises:
        TrainingFailed: the model has no linear layer of a wished name.
    """
    if not wished:
        return list(loaded.architecture.linear_layers)
    head = head_of(loaded.model)
    there = {
        name.rsplit(".", 1)[-1]
        for name, module in loaded.model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    }
    absent = [one for one in wished if one not in there]
    if absent:
        raise TrainingFailed(
            f"lora_targets names {', '.join(absent)}, and no linear layer of this {loaded.architecture.model_type}"
            f" model is called so; those of its blocks are {', '.join(sorted(there))}"
        )
    return list(wished)


def wrap(loaded: LoadedModel, config: PeftConfig, *, seed: int) -> torch.nn.Module:
    """Give the base with what `config` describes in it, its trained parameters float32; same seed, same parameters.

    Raises:
        TrainingFailed: the config does not fit the model.
    """
    torch.manual_seed(seed)
    try:
        with quiet():
            tuned = get_peft_model(loaded.model, config, autocast_adapter_dtype=True)
    except (ValueError, RuntimeError, AssertionError, NotImplementedError, TypeError, OverflowError) as error:
        settings = type(config).__name__.removesuffix("Config")
        raise TrainingFailed(
            f"{settings} does not fit this {loaded.architecture.model_type} model: {error}; change its settings"
        ) from error
    for one in trainable_parameters(tuned).values():
        one.data = one.data.float()
    return cast(torch.nn.Module, tuned)


def save(tuned: torch.nn.Module, folder: Path) -> None:
    """Write a PEFT adapter folder."""
    with quiet():
        # Left to "auto", peft asks the hub about the base model in the middle of saving.
        cast(PeftModel, tuned).save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)


def fold(tuned: torch.nn.Module, *, dtype: DtypeName) -> torch.nn.Module:
    """Give the base with the trained parts in its weights, by PEFT's own sums in float32, rounded once to `dtype`."""
    merged: Any = cast(PeftModel, tuned.float()).merge_and_unload(safe_merge=True)
    return cast(torch.nn.Module, merged.requires_grad_(requires_grad=False).to(DTYPES[dtype]))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep PEFT's advice to people who write programs out of a job's log."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield
