"""Writes what a training leaves: model, adapter, archive, measurements, lineage and report; called at its end.

    model/            merged weights (safetensors), config, tokenizer, template: any Hugging Face program loads it
    adapter/          the adapter alone, a PEFT folder
    model.tar.gz      model/ as one archive, and adapter/ in it where there is one: what ModelDataUrl names
    evaluation.json   training.jsonl   lineage.json   report.html

The worker adds the manifest of digests when all of it is uploaded.
"""

from __future__ import annotations

import gzip
import json
import shutil
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, cast

import torch

from gyropilot.problems.contract import Json
from gyropilot.problems.text_generation.templates import Encoder

MODEL = "model"
ADAPTER = "adapter"
ARCHIVE = "model.tar.gz"
EVALUATION = "evaluation.json"
TRAINING = "training.jsonl"
LINEAGE = "lineage.json"
REPORT = "report.html"
SERVING = "gyropilot-serving.json"

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
    folder: Path, model: torch.nn.Module, base: Path, encoder: Encoder, serving: Mapping[str, Json]
) -> None:
    """Write the merged model with the base's tokenizer, the template and what serving needs to know."""
    folder.mkdir(parents=True)
    cast(Any, model).save_pretrained(str(folder), safe_serialization=True, max_shard_size=_MAX_SHARD)
    for name in _TOKENIZER_FILES:
        if (base / name).exists():
            shutil.copyfile(base / name, folder / name)
    _drop_keys(folder / "config.json", ("_name_or_path", "_model_name_or_path"))
    encoder.save(folder)
    write_json(folder / SERVING, serving)


def write_adapter_names(folder: Path, base_model: str) -> None:
    """Name the base model of a PEFT folder by its name, not by this machine's path; drop the empty model card."""
    file = folder / "adapter_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base_model
    write_json(file, config)
    (folder / "README.md").unlink(missing_ok=True)


def write_archive(folder: Path, archive: Path, *, within: Mapping[str, Path]) -> None:
    """Pack a folder's files; the same files give the same bytes, since no time, owner or mode of theirs goes in.

    Compression is the lightest: weights hardly shrink, and time is what it costs.

    Args:
        folder: its files lie at the archive's top.
        archive: the file to write.
        within: more folders, by the name under which their files lie in the archive.
    """
    partial = archive.with_suffix(".partial")
    files = _files(folder, "") | {name: path for top, one in within.items() for name, path in _files(one, top).items()}
    with (
        partial.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=1, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for name, path in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = path.stat().st_size, 0o644
            with path.open("rb") as file:
                tar.addfile(entry, file)
    partial.replace(archive)


def write_json(path: Path, content: Json) -> None:
    """Write JSON for people and programs: indented, keys as given."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def write_lines(path: Path, records: Iterable[Mapping[str, Json]]) -> None:
    """Write one JSON object a line."""
    with path.open("w", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def _files(folder: Path, top: str) -> dict[str, Path]:
    """Give the regular files of a folder by their names below `top`."""
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return {(PurePosixPath(top) / path.relative_to(folder).as_posix()).as_posix(): path for path in paths}


def _drop_keys(file: Path, keys: Iterable[str]) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))
    write_json(file, {name: value for name, value in content.items() if name not in set(keys)})
