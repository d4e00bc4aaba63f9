"""What a job needs to know of its base model, from the store's record and the model's own config."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from gyropilot.base_models.store import BaseModelStore
from gyropilot.errors import TrainingFailed
from gyropilot.problems.contract import Json


@dataclass(frozen=True, kw_only=True)
class BaseModelFacts:
    """One installed base model."""

    name: str
    folder: Path
    digest: str
    revision: str
    licence: str
    context_tokens: int
    """Tokens that an input may have, and that an output may have."""
    model_tokens: int
    """Tokens that prompt and answer may have together: the positions the model knows."""
    max_rows: int
    template_style: Literal["chat", "plain"]

    def to_json(self) -> dict[str, Json]:
        """Give the facts as JSON values, without the folder, which is this machine's own."""
        return {name: value for name, value in asdict(self).items() if name != "folder"}


def read_base_model(store: Path, name: str) -> BaseModelFacts:
    """Give the facts of an installed base model.

    Raises:
        TrainingFailed: it is not installed any more.
    """
    installed = BaseModelStore(store, allow_downloads=False).find(name)
    if installed is None:
        raise TrainingFailed(
            f"base model {name} is not in the store any more; install it (gyropilot models pull {name}, or add)"
            " and create the job again"
        )
    model_tokens = _model_tokens(installed.path)
    return BaseModelFacts(
        name=name,
        folder=installed.path,
        digest=installed.digest,
        revision=installed.revision,
        licence=installed.licence,
        context_tokens=min(installed.context_tokens, model_tokens),
        model_tokens=model_tokens,
        max_rows=installed.max_rows,
        template_style="chat" if installed.is_instruct else "plain",
    )


def _model_tokens(folder: Path) -> int:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    length = int(config.get("max_position_embeddings") or 2048)
    window = config.get("sliding_window")
    return min(length, int(window)) if window and config.get("use_sliding_window", True) else length
