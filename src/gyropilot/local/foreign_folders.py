"""Makes a model's folder of what others saved: caikit-nlp's prompt folder, or an adapter folder of PEFT.

What is missing there comes of the base model: its tokenizer, its configuration, its limits. The prompt is what the
verbalizer says; caikit-nlp's folder has one, to PEFT's folder the input is given as it is. Imports torch.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from gyropilot.errors import InvalidData
from gyropilot.local import model_folders
from gyropilot.local.bases import Base
from gyropilot.problems.text_generation import artifacts, file_names
from gyropilot.problems.text_generation.base_model import BaseModelFacts, read_base_model
from gyropilot.problems.text_generation.decoding import virtual_tokens
from gyropilot.problems.text_generation.source_prompts import conversion
from gyropilot.problems.text_generation.source_prompts.vectors import COLUMNS, EMBEDDINGS, ROWS
from gyropilot.problems.text_generation.templates import Encoder
from gyropilot.problems.text_generation.tuning import peer_folder

Json = Any
Tensors = Mapping[str, torch.Tensor]
_AS_IT_IS = "{{input}}"
_MAX_NEW_TOKENS = 20
"""How long answers are where the caller does not say: caikit-nlp's default, for its folders say none."""
_PREFIX = "PREFIX_TUNING"
_VIRTUAL = ("PROMPT_TUNING", "P_TUNING", "MULTITASK_PROMPT_TUNING", _PREFIX)


def adopt_peer(source: Path, folder: Path, base: Base, *, verbalizer: str | None) -> None:
    """Make a model's folder of a folder that caikit-nlp saved.

    Raises:
        InvalidData: a file is missing or not as it should be.
    """
    found = peer_folder.read(source)
    rows = {side.lower(): values for side, values in found.rows.items()}
    _write(folder, base, found.tuning_type or "PROMPT_TUNING", verbalizer or found.verbalizer or _AS_IT_IS, rows)
    (folder / model_folders.PEER).mkdir()
    for name in peer_folder.names_in(source):
        shutil.copyfile(source / name, folder / model_folders.PEER / name)


def adopt_adapter(source: Path, folder: Path, base: Base, *, verbalizer: str | None) -> None:
    """Make a model's folder of an adapter that PEFT saved: virtual tokens, or a LoRA.

    Raises:
        InvalidData: a file is missing or not as it should be.
    """
    config = conversion.read_config(conversion.config_of(source))
    kind = str(config.get("peft_type"))
    rows = _served(source, folder, config) if kind in _VIRTUAL else {}
    _write(folder, base, kind, verbalizer or _AS_IT_IS, rows)
    for path in source.iterdir():
        to = folder / model_folders.ADAPTER / path.name
        if path.suffix in {".json", ".safetensors"} and path.is_file() and not path.is_symlink() and not to.exists():
            shutil.copyfile(path, to)


def name_of_base(source: Path, kind: model_folders.Kind) -> str:
    """Give the base model as the folder says it; empty where it does not."""
    if kind == "peer":
        return peer_folder.read(source).base_model_name
    return str(conversion.read_config(conversion.config_of(source)).get("base_model_name_or_path") or "")


def _write(folder: Path, base: Base, tuning: str, verbalizer: str, rows: Tensors) -> None:
    facts = read_base_model(base.root, base.name, requested=base.name)
    encoder = Encoder.of_base_model(facts.folder, style=facts.template_style, verbalizer=verbalizer)
    artifacts.write_model(folder, None, facts.folder, encoder, _serving(facts, tuning, rows))
    adapter = folder / model_folders.ADAPTER
    adapter.mkdir()
    if rows:
        name = virtual_tokens.PREFIX if "keys" in rows else virtual_tokens.PROMPT
        plain = {key: one.float().contiguous() for key, one in rows.items()}
        save_file(plain, adapter / name, {"format": "1"})


def _serving(facts: BaseModelFacts, tuning: str, rows: Tensors) -> dict[str, Json]:
    own = [one for key, one in rows.items() if "." not in key]
    tasks = 1 + max((int(key.partition(".")[2] or 0) for key in rows), default=0)
    return {
        "format": 1,
        "problem": "TextGeneration",
        "base_model": facts.name,
        "base_model_digest": facts.digest,
        "stands_in_for": "",
        "tuning": tuning,
        "virtual_tokens": rows["keys"].shape[2] if "keys" in rows else sum(map(len, own)),
        "tasks": [f"task-{number}" for number in range(1, tasks + 1)] if tasks > 1 else [],
        "dtype": "float32",
        "model_tokens": facts.model_tokens,
        "max_new_tokens": min(_MAX_NEW_TOKENS, facts.model_tokens),
    }


def _served(source: Path, folder: Path, config: Mapping[str, Json]) -> Tensors:
    """Give virtual tokens as they are served: as a folder of ours has them, else made of what PEFT saved."""
    for name in (virtual_tokens.PROMPT, virtual_tokens.PREFIX):
        if (source / name).is_file():
            return _tensors(source / name)
    return _prefix(source, config) if config.get("peft_type") == _PREFIX else _rows(source, folder, config)


def _rows(source: Path, folder: Path, config: Mapping[str, Json]) -> Tensors:
    """Give the rows of each side; those of further tasks as `<side>.<task>`."""
    vectors = folder.parent / "vectors.safetensors"
    made = conversion.from_adapter(source, vectors)
    found = load_file(vectors)
    shared = found[EMBEDDINGS]
    of_tasks = found[COLUMNS] @ found[ROWS] * shared if made["tasks"] else shared[None]
    sides = ("encoder", "decoder") if config.get("task_type") == "SEQ_2_SEQ_LM" else ("decoder",)
    return {
        f"{side}.{task}" if task else side: half
        for task, rows in enumerate(of_tasks)
        for side, half in zip(sides, rows.chunk(made["submodules"]), strict=False)
    }


def _prefix(source: Path, config: Mapping[str, Json]) -> Tensors:
    """Give keys and values, each [layers, key heads, n, head width]."""
    file = source / file_names.PEFT_TENSORS
    try:
        table = _tensors(file)[EMBEDDINGS]
        layers, heads = int(config["num_layers"]), int(config["num_attention_heads"])
        parts = table.view(len(table), layers, 2, heads, -1).permute(1, 2, 3, 0, 4)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        fix = "save the adapter with PEFT's save_pretrained, as safetensors"
        raise InvalidData(where=str(file), problem=f"holds no attention prefix: {error}", fix=fix) from error
    return {"keys": parts[:, 0], "values": parts[:, 1]}


def _tensors(file: Path) -> Tensors:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        fix = "save it again as safetensors"
        raise InvalidData(where=str(file), problem=f"cannot be read: {error}", fix=fix) from error
