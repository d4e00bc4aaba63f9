"""How many tokens a base model takes at once, as its config.json says; read at the door and by the children."""

from __future__ import annotations

import json

from gyropilot.problems.contract import BaseModelRecord

_POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len")
"""Under which key a config.json says how long a text may be."""


def model_tokens(installed: BaseModelRecord) -> int:
    """Give the tokens that prompt and answer may have together.

    They are the positions the model knows, and for one that has an encoder, which counts distances alone, what both
    sides may have.
    """
    if installed.kind == "seq2seq":
        return 2 * installed.context_tokens
    config = json.loads((installed.path / "config.json").read_text(encoding="utf-8"))
    length = int(next((config[name] for name in _POSITIONS if config.get(name)), 2048))
    # Packs carry a mask of their own, which knows no window; within the window both say the same.
    window = config.get("sliding_window")
    return min(length, int(window)) if window and config.get("use_sliding_window", True) else length
