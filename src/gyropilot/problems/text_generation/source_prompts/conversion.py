"""Turns what PEFT, caikit-nlp or a job of ours saved into the vectors of a source prompt; runs in a child.

adapter_config.json, adapter_model.safetensors | .bin   PEFT: prompt tuning, p-tuning, multitask prompt tuning
adapter/ with these                                     the output of a job
config.yml, encoder.pt, decoder.pt                      caikit-nlp: effective rows, without task matrices
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from gyropilot.base_models import safetensors_files
from gyropilot.errors import InvalidData
from gyropilot.problems.contract import Json, Reporter
from gyropilot.problems.text_generation.source_prompts.vectors import COLUMNS, EMBEDDINGS, ROWS
from gyropilot.problems.text_generation.tuning import peer_folder, torch_files

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_FILES = ("adapter_model.safetensors", "adapter_model.bin")
ADAPTER = "adapter"
_PEFT_TYPES = ("PROMPT_TUNING", "P_TUNING", "MULTITASK_PROMPT_TUNING")
_MOST_CONFIG_BYTES, _MOST_WEIGHT_BYTES = 2**22, 2**30


def convert(arguments: Mapping[str, Json], reporter: Reporter) -> dict[str, Json]:
    """Write the vectors that lie in `folder` to the file `to`, and say what they are.

    Gives `kind`, `submodules`, `tasks` (how many, 0 for a bare vector) and `base_model`, as the folder says it.

    Raises:
        InvalidData: the folder is none of these, or its files are not as they should be.
    """
    folder, to = Path(arguments["folder"]), Path(arguments["to"])
    adapter = folder if (folder / ADAPTER_CONFIG).is_file() else folder / ADAPTER
    if (adapter / ADAPTER_CONFIG).is_file():
        return from_adapter(adapter, to)
    if (folder / peer_folder.CONFIG).is_file():
        return _from_peer(folder, to)
    raise InvalidData(
        where=str(folder),
        found=sorted(path.name for path in folder.iterdir())[:10],
        problem="is no folder with a prompt",
        fix=f"give a folder with {ADAPTER_CONFIG} (PEFT), {ADAPTER}/ (a job's output) or {peer_folder.CONFIG}"
        " (caikit-nlp)",
    )


def from_adapter(folder: Path, to: Path) -> dict[str, Json]:
    """Write the vectors of a PEFT adapter folder to the file `to`; gives what `convert` does.

    Raises:
        InvalidData: it is no adapter of virtual tokens, or its files are not as they should be.
    """
    config = read_config(folder / ADAPTER_CONFIG)
    kind = str(config.get("peft_type"))
    if kind not in _PEFT_TYPES:
        fix = f"give an adapter of {', '.join(_PEFT_TYPES)}"
        raise InvalidData(
            where=str(folder / ADAPTER_CONFIG), found=kind, problem="is no adapter of virtual tokens", fix=fix
        )
    keys = (EMBEDDINGS, COLUMNS, ROWS) if kind == "MULTITASK_PROMPT_TUNING" else (EMBEDDINGS,)
    path, tensors = _read_weights(folder)
    missing = [key for key in keys if key not in tensors]
    if missing:
        problem, fix = f"lacks {', '.join(missing)}", "save the adapter with PEFT's save_pretrained"
        raise InvalidData(where=str(path), found=sorted(tensors)[:10], problem=problem, fix=fix)
    save_file({key: tensors[key].detach().float().contiguous() for key in keys}, to)
    return {
        "kind": f"PEFT adapter of {kind}",
        "submodules": 2 if config.get("num_transformer_submodules") == 2 else 1,
        "tasks": len(tensors[COLUMNS]) if COLUMNS in keys else 0,
        "base_model": str(config.get("base_model_name_or_path") or ""),
    }


def _from_peer(folder: Path, to: Path) -> dict[str, Json]:
    found = peer_folder.read(folder)
    sides = [found.rows[side] for side in ("ENCODER", "DECODER") if side in found.rows]
    save_file({EMBEDDINGS: torch.cat(sides).contiguous()}, to)
    return {
        "kind": f"folder of caikit-nlp, {found.tuning_type or 'unknown type'}",
        "submodules": len(sides),
        "tasks": 0,
        "base_model": found.base_model_name,
    }


def read_config(path: Path) -> Mapping[str, Json]:
    """Give the JSON object of an adapter_config.json; raises InvalidData where it is none."""
    fix = "give the folder that PEFT's save_pretrained wrote"
    try:
        if path.is_symlink() or path.stat().st_size > _MOST_CONFIG_BYTES:
            raise InvalidData(where=str(path), problem="is a link, or too long", fix=fix)
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidData(where=str(path), problem=f"is not JSON: {error}", fix=fix) from error
    if not isinstance(config, dict):
        raise InvalidData(where=str(path), found=type(config).__name__, problem="is no JSON object", fix=fix)
    return config


def _read_weights(folder: Path) -> tuple[Path, Mapping[str, torch.Tensor]]:
    path = next((folder / name for name in ADAPTER_FILES if (folder / name).is_file()), folder / ADAPTER_FILES[0])
    fix = "save the adapter with PEFT's save_pretrained"
    if path.is_symlink() or not path.is_file() or path.stat().st_size > _MOST_WEIGHT_BYTES:
        raise InvalidData(where=str(path), problem="is not there, a link, or too large", fix=fix)
    if path.suffix == ".safetensors":
        safetensors_files.read_header(path, str(path))
        return path, load_file(path)
    found = torch_files.read(path, what="tensors", fix=fix)
    if isinstance(found, torch.Tensor):
        raise InvalidData(where=str(path), found="Tensor", problem="holds no named tensors", fix=fix)
    return path, found
