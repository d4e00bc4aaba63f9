"""Turns what PEFT, caikit-nlp or a job of ours saved into the vectors of a source prompt; runs in a child.

adapter_config.json, adapter_model.safetensors | .bin   PEFT: prompt tuning, p-tuning, multitask prompt tuning
gyropilot-adapter.json, gyropilot-adapter.safetensors   the same keys, with sides that PEFT has no place for
adapter/ with either                                    the output of a job
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
from gyropilot.problems.text_generation import file_names
from gyropilot.problems.text_generation.source_prompts.vectors import COLUMNS, EMBEDDINGS, ROWS
from gyropilot.problems.text_generation.tuning import peer_folder, torch_files

_CONFIGS = (file_names.PEFT_CONFIG, file_names.OWN_CONFIG)
_TENSORS = (file_names.PEFT_TENSORS, file_names.PEFT_PICKLE, file_names.OWN_TENSORS)
_MULTITASK = "MULTITASK_PROMPT_TUNING"
_PEFT_TYPES = ("PROMPT_TUNING", "P_TUNING", _MULTITASK)
_MOST_CONFIG_BYTES, _MOST_WEIGHT_BYTES = 2**22, 2**30


def convert(arguments: Mapping[str, Json], reporter: Reporter) -> dict[str, Json]:
    """Write the vectors that lie in `folder` to the file `to`, and say what they are.

    Gives `kind`, `submodules`, `tasks` (how many, 0 for a bare vector) and `base_model`, as the folder says it.

    Raises:
        InvalidData: the folder is none of these, or its files are not as they should be.
    """
    folder, to = Path(arguments["folder"]), Path(arguments["to"])
    for adapter in (folder, folder / file_names.ADAPTER):
        if config_of(adapter).is_file():
            return from_adapter(adapter, to)
    if (folder / peer_folder.CONFIG).is_file():
        return _from_peer(folder, to)
    raise InvalidData(
        where=str(folder),
        found=sorted(path.name for path in folder.iterdir())[:10],
        problem="is no folder with a prompt",
        fix=f"give a folder with {file_names.PEFT_CONFIG} (PEFT), {file_names.ADAPTER}/ (a job's output) or"
        f" {peer_folder.CONFIG} (caikit-nlp)",
    )


def config_of(folder: Path) -> Path:
    """Give where an adapter's folder says what it is, by whichever name; that of PEFT where there is none."""
    return next((folder / name for name in _CONFIGS if (folder / name).is_file()), folder / _CONFIGS[0])


def from_adapter(folder: Path, to: Path) -> dict[str, Json]:
    """Write the vectors of an adapter's folder to the file `to`; gives what `convert` does.

    PEFT trains of two sides the first alone, but of multitask prompts; its second half stays as it was drawn.

    Raises:
        InvalidData: it is no adapter of virtual tokens, or its files are not as they should be.
    """
    path = config_of(folder)
    config = read_config(path)
    kind = str(config.get("peft_type"))
    if kind not in _PEFT_TYPES:
        fix = f"give an adapter of {', '.join(_PEFT_TYPES)}"
        raise InvalidData(where=str(path), found=kind, problem="is no adapter of virtual tokens", fix=fix)
    keys = (EMBEDDINGS, COLUMNS, ROWS) if kind == _MULTITASK else (EMBEDDINGS,)
    sides = 2 if config.get("num_transformer_submodules") == 2 else 1
    is_second_drawn = sides == 2 and kind != _MULTITASK and path.name == file_names.PEFT_CONFIG
    path, tensors = _read_weights(folder)
    missing = [key for key in keys if key not in tensors]
    if missing:
        problem, fix = f"lacks {', '.join(missing)}", "save the adapter with PEFT's save_pretrained"
        raise InvalidData(where=str(path), found=sorted(tensors)[:10], problem=problem, fix=fix)
    vectors = {key: tensors[key].detach().float() for key in keys}
    if is_second_drawn:
        vectors[EMBEDDINGS] = vectors[EMBEDDINGS][: len(vectors[EMBEDDINGS]) // 2]
    save_file({key: one.contiguous() for key, one in vectors.items()}, to)
    return {
        "kind": f"PEFT adapter of {kind}",
        "submodules": 1 if is_second_drawn else sides,
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
    path = next((folder / name for name in _TENSORS if (folder / name).is_file()), folder / _TENSORS[0])
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
