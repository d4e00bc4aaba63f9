"""What a tuning method is: it makes the trained parts and gives them back as files; one small file each."""

from __future__ import annotations

from dataclasses import Field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch

from gyropilot.problems.text_generation.models import DtypeName, LoadedModel


class Method(Protocol):
    """One way to tune: a frozen dataclass, its fields the settings. `attach` seeds torch before it builds anything.

    The base that `attach` is given is used up: whoever wants it untouched loads it again.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def name(self) -> str:
        """Give the method's name, as a request says it."""

    @property
    def saves_adapter(self) -> bool:
        """Say whether the trained parts make sense beside the base: then `save` writes them."""

    @property
    def merges(self) -> bool:
        """Say whether `merge` gives one model of the base's shape; else the base and what `save` wrote are served."""

    def base_dtype(self, fastest: DtypeName) -> DtypeName:
        """Give the precision to load the base in, where the machine computes fastest in `fastest`."""

    def attach(self, loaded: LoadedModel, *, seed: int) -> torch.nn.Module:
        """Give the model to train, whose float32 parameters that require gradients are the trained parts."""

    def save(self, tuned: torch.nn.Module, folder: Path) -> None:
        """Write the trained parts as a folder of safetensors and JSON; only where `saves_adapter`."""

    def merge(self, tuned: torch.nn.Module, *, dtype: DtypeName) -> torch.nn.Module:
        """Give a model of the base's own shape in `dtype` with the trained parts in it; only where `merges`.

        `tuned` is used up.
        """
