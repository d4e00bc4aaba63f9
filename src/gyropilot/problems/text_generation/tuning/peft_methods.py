"""The door to PEFT's other methods: a config by its name, its fields checked by tuning/peft_types.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from peft import PeftConfig, PeftType
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

from gyropilot.errors import TrainingFailed
from gyropilot.problems.text_generation.models import DtypeName, LoadedModel
from gyropilot.problems.text_generation.tuning import peft_types, wrapping
from gyropilot.problems.text_generation.tuning.wrapping import Folded

Json = Any


@dataclass(frozen=True, kw_only=True)
class PeftMethod(Folded):
    """One method of PEFT's that can be folded into the base."""

    peft_type: str
    """A name of peft_types.PEFT_TYPES."""
    settings: Mapping[str, Json] = field(default_factory=dict)
    """Fields of its config; all others have PEFT's defaults."""
    targets: tuple[str, ...] = ()
    """Last names of the layers to change; empty: every linear layer of the blocks."""
    name: str = "PEFT"

    def base_dtype(self, fastest: DtypeName) -> DtypeName:
        """Give `fastest`: the base is only read. Trained norms are float32, and so is then what they pass on."""
        return "float32" if self.peft_type == "LN_TUNING" else fastest

    def attach(self, loaded: LoadedModel, *, seed: int) -> torch.nn.Module:
        """Give the base with the method's layers in it.

        Raises:
            TrainingFailed: the method or a setting is not known, or does not fit this model.
        """
        faults = peft_types.faults_of(self.peft_type, self.settings, where="peft_settings")
        if faults:
            raise TrainingFailed("; ".join(map(str, faults)))
        return wrapping.wrap(loaded, self._config(loaded), seed=seed)

    def _config(self, loaded: LoadedModel) -> PeftConfig:
        kind: Any = PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(self.peft_type)]
        targets = _norms(loaded) if self.peft_type == "LN_TUNING" else wrapping.linear_targets(loaded, self.targets)
        try:
            config: PeftConfig = kind(
                target_modules=targets, task_type=wrapping.task_type(loaded), **_settled(self.peft_type, self.settings)
            )
        except (ValueError, TypeError) as error:
            raise TrainingFailed(f"{self.peft_type} cannot be had with {dict(self.settings)}: {error}") from error
        return config


def _settled(peft_type: str, settings: Mapping[str, Json]) -> dict[str, Json]:
    """Give the settings as PEFT wants them: OFT takes a rank or a size of blocks, and its default is the size."""
    settled = dict(settings)
    if peft_type == "OFT" and "r" in settled:
        settled.setdefault("oft_block_size", 0)
    return settled


def _norms(loaded: LoadedModel) -> list[str]:
    """Give the last names of the model's norms."""
    modules = loaded.model.named_modules()
    return sorted({name.rsplit(".", 1)[-1] for name, module in modules if type(module).__name__.endswith("Norm")})
