"""Multitask prompt tuning: rows shared by all tasks, times a low-rank matrix of each (Wang et al., 2023).

    rows of task t = shared * (columns[t] @ rows[t]), element by element

PEFT draws columns and rows near zero, so that no start would show. Here the product is one at first, whatever the
shared rows begin with: the prompt begins at the text, at the sampled tokens or at the source's shared rows themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from peft import MultitaskPromptTuningConfig, PromptEmbedding
from peft.tuners.multitask_prompt_tuning import MultitaskPromptEmbedding
from safetensors.torch import load_file

from gyropilot.errors import TrainingFailed
from gyropilot.problems.text_generation import file_names
from gyropilot.problems.text_generation.models import LoadedModel
from gyropilot.problems.text_generation.tuning import prompted
from gyropilot.problems.text_generation.tuning.prompt_start import first_rows
from gyropilot.problems.text_generation.tuning.prompted import Prompted, Unmerged
from gyropilot.problems.text_generation.tuning.specification import SOURCE_METHODS, InitMethod, OutputModelType

_SMALL = 0.02
"""Deviation of what PEFT draws the matrices with."""


@dataclass(frozen=True, kw_only=True)
class MultitaskPromptTuning(Unmerged):
    """Multitask prompt tuning's settings."""

    num_virtual_tokens: int
    """On each side."""
    init_method: InitMethod = "RANDOM"
    init_text: str | None = None
    output_model_types: tuple[OutputModelType, ...] = ()
    """Sides of an encoder-decoder model; a causal model has one. Empty: the encoder."""
    ranks: int = 1
    """Of each task's matrix."""
    tasks: int = 1
    source: InitVar[Path | None] = None
    """Folder of the source prompt that SOURCE_METHODS begin with; a place on this machine, so no setting."""
    name: str = "MULTITASK_PROMPT_TUNING"

    def __post_init__(self, source: Path | None) -> None:
        object.__setattr__(self, "_source", source)

    def attach(self, loaded: LoadedModel, *, seed: int) -> torch.nn.Module:
        """Give the base with rows before its texts; same seed, same rows.

        Raises:
            TrainingFailed: the source prompt is of another shape, or a text to begin with has no tokens.
        """
        torch.manual_seed(seed)
        base = loaded.model
        embedding = MultitaskPromptEmbedding(self._config(base), base)
        self._begin(embedding, base)
        embedding.to(next(base.parameters()).device)
        indices = torch.arange(len(embedding.embedding.weight))[None]

        def rows_of(task: int) -> torch.Tensor:
            device = embedding.embedding.weight.device
            return cast(torch.Tensor, embedding(indices.to(device), torch.tensor([task], device=device))[0])

        sides = prompted.sides_of(base, self.output_model_types)
        tokens = prompted.rows_on(base, sides, self.num_virtual_tokens, rows_of, tasks=self.tasks)
        return Prompted(base, embedding, tokens)

    def save(self, tuned: torch.nn.Module, folder: Path) -> None:
        """Write a PEFT adapter folder with all tasks, and the rows of each as they are served."""
        whole = cast(Prompted, tuned)
        prompt = cast(Any, whole.prompt)
        tensors = {
            "prompt_embeddings": prompt.embedding.weight,
            "prefix_task_cols": prompt.prefix_task_cols,
            "prefix_task_rows": prompt.prefix_task_rows,
        }
        prompted.save(whole, folder, self._config(whole.base), tensors)

    def _config(self, base: torch.nn.Module) -> MultitaskPromptTuningConfig:
        sides = prompted.sides_of(base, self.output_model_types)
        return MultitaskPromptTuningConfig(
            **prompted.config_fields(base, count=self.num_virtual_tokens, sides=sides),
            num_ranks=self.ranks,
            num_tasks=self.tasks,
            prompt_tuning_init="RANDOM",
        )

    def _begin(self, prompt: PromptEmbedding, base: torch.nn.Module) -> None:
        module = cast(Any, prompt)
        shared, columns, rows = module.embedding.weight, module.prefix_task_cols, module.prefix_task_rows
        # The first rank is one everywhere; others begin at zero by their rows alone, as LoRA does, to grow apart.
        columns.data[..., 0], rows.data[...], rows.data[:, 0] = 1.0, 0.0, 1.0
        if self.init_method not in SOURCE_METHODS:
            shared.data = first_rows(base, count=len(shared), method=self.init_method, text=self.init_text)
            return
        source = self._source_tensors(shared, columns, rows)
        shared.data = source["prompt_embeddings"].float()
        if self.init_method == "AVERAGE_SOURCE":
            columns.data[:] = source["prefix_task_cols"].float().mean(0)
            rows.data[:] = source["prefix_task_rows"].float().mean(0)

    def _source_tensors(
        self, shared: torch.Tensor, columns: torch.Tensor, rows: torch.Tensor
    ) -> Mapping[str, torch.Tensor]:
        folder = cast(Path | None, vars(self).get("_source"))
        if folder is None:
            raise TrainingFailed(f"{self.init_method} begins with a source prompt; name one")
        found = load_file(folder / file_names.SOURCE)
        wanted = {"prompt_embeddings": tuple(shared.shape)}
        if self.init_method == "AVERAGE_SOURCE":
            wanted |= {"prefix_task_cols": tuple(columns.shape[1:]), "prefix_task_rows": tuple(rows.shape[1:])}
        faults = [
            f"{name} is {_shape(found.get(name))}, wanted {shape}{' of each task' if len(wanted) > 1 and index else ''}"
            for index, (name, shape) in enumerate(wanted.items())
            if found.get(name) is None or tuple(found[name].shape[-2:]) != shape or not found[name].isfinite().all()
        ]
        if faults:
            raise TrainingFailed(
                f"source prompt {folder.name} does not fit this model and these settings: {'; '.join(faults)};"
                " choose another source, or num_virtual_tokens, prompt_ranks and output_model_types as it has them"
            )
        return found


def _shape(one: torch.Tensor | None) -> str:
    if one is None:
        return "missing"
    return str(tuple(one.shape)) if one.isfinite().all() else f"{tuple(one.shape)} with values that are not finite"
