"""Writes what a training leaves: model, adapter, archive, measurements, lineage and report; called at its end.

    model/            merged weights (safetensors), config, tokenizer, template: any Hugging Face program loads it;
                      no weights where what was trained stands before texts and is no change of them
    adapter/          what was trained alone, a PEFT folder
    caikit/           rows before texts once more, as caikit-nlp has them (tuning/peer_folder.py)
    model.tar.gz      model/ as one archive, and adapter/ in it where it is served beside its base: what ModelDataUrl
                      names
    evaluation.json   training.jsonl   lineage.json   report.html

The worker adds the manifest of digests when all of it is uploaded.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import torch

from gyropilot.problems.contract import Json
from gyropilot.problems.text_generation import file_names
from gyropilot.problems.text_generation.templates import Encoder

MODEL, ADAPTER, SERVING = file_names.MODEL, file_names.ADAPTER, file_names.SERVING
ARCHIVE = "model.tar.gz"
EVALUATION = "evaluation.json"
TRAINING = "training.jsonl"
LINEAGE = "lineage.json"
REPORT = "report.html"

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
)
_CONFIG_FILES = ("config.json", "generation_config.json")
_MAX_SHARD = "4GB"


def empty(output: Path) -> None:
    """Make the output folder empty: a child that was killed may have left files there."""
    output.mkdir(parents=True, exist_ok=True)
    for path in output.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def write_model(
    folder: Path, model: torch.nn.Module | None, base: Path, encoder: Encoder, serving: Mapping[str, Json]
) -> None:
    """Write the merged model with the base's tokenizer, the template and what serving needs to know.

    None in the place of the model: its weights are those of the base, and only the base's configuration is written.
    """
    folder.mkdir(parents=True)
    if model is None:
        _copy(base, folder, _CONFIG_FILES)
    else:
        cast(Any, model).save_pretrained(str(folder), safe_serialization=True, max_shard_size=_MAX_SHARD)
    _copy(base, folder, _TOKENIZER_FILES)
    _drop_keys(folder / "config.json", ("_name_or_path", "_model_name_or_path"))
    encoder.save(folder)
    write_json(folder / SERVING, serving)


def write_adapter_names(folder: Path, base_model: str) -> None:
    """Name the base model of an adapter's folder by its name, not by this machine's path; drop the empty model card."""
    file = next(one for name in (file_names.PEFT_CONFIG, file_names.OWN_CONFIG) if (one := folder / name).is_file())
    config = json.loads(file.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base_model
    write_json(file, config)
    (folder / "README.md").unlink(missing_ok=True)


def write_json(path: Path, content: Json) -> None:
    """Write JSON for people and programs: indented, keys as given."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def write_lines(path: Path, records: Iterable[Mapping[str, Json]]) -> None:
    """Write one JSON object a line."""
    with path.open("w", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def _copy(source: Path, folder: Path, names: Iterable[str]) -> None:
    for name in names:
        if (source / name).exists():
            shutil.copyfile(source / name, folder / name)


def _drop_keys(file: Path, keys: Iterable[str]) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))
    write_json(file, {name: value for name, value in content.items() if name not in set(keys)})
