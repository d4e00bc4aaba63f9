"""Copies a model folder so that only data comes through: weights, JSON by allow-list, tokenizer, chat template.

Called by the store for every source. The found files are never imported, unpickled or rendered.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from gyropilot.base_models import json_files, safetensors_files
from gyropilot.base_models.architectures import Architecture
from gyropilot.errors import Fault, InvalidData
from gyropilot.files import sync

Json = Any

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
MAX_JSON_BYTES = 128 * 2**20
MAX_FILES = 10_000
_BLOCK_BYTES = 4 * 2**20
_WEIGHTS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,120}\.safetensors")
_READ = {
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    INDEX,
}
"""Files beside the weights that are looked at."""
_REASONS = {
    ".bin": "a pickle can run code when it is read",
    ".pt": "a pickle can run code when it is read",
    ".pth": "a pickle can run code when it is read",
    ".ckpt": "a pickle can run code when it is read",
    ".pkl": "a pickle can run code when it is read",
    ".pickle": "a pickle can run code when it is read",
    ".py": "a model brings no code here",
    ".so": "a model brings no code here",
    ".h5": "only safetensors weights are used",
    ".msgpack": "only safetensors weights are used",
    ".gguf": "only safetensors weights are used",
    ".onnx": "only safetensors weights are used",
    ".model": "tokenizer.json holds the tokenizer",
}


@dataclass(frozen=True, kw_only=True)
class CleanCopy:
    """What a copied folder holds."""

    architecture: Architecture
    parameters: int
    max_positions: int | None
    """Longest sequence the configuration names, in tokens."""
    has_chat_template: bool
    left_out: tuple[str, ...]
    """What did not come through, each with its reason."""


def copy_clean(source: Path, target: Path) -> CleanCopy:
    """Write the usable part of `source` into the empty folder `target`, synced to disk.

    Raises:
        InvalidData: no usable model lies in `source`; names the file and the mend.
    """
    files = _listed(source)
    family, kept, dropped = json_files.clean_config(_config(files, source))
    left_out = [f"config.json: key {key}: not among the keys that are kept" for key in dropped]
    shards, parameters = _checked_weights(files, source)
    has_chat_template = _write_tokenizer(files, source, target, kept)
    _write_json(target / "config.json", kept)
    generation = _read_json(files, "generation_config.json")
    if generation is not None:
        _write_json(target / "generation_config.json", json_files.clean_generation_config(generation))
    if INDEX in files:
        _write_index(files, target)
    for name in shards:
        _copy(_open(files[name]), target / name)
        safetensors_files.read_header(target / name, name)  # the found file may have changed since it was checked
    left_out += [_reason(name) for name in sorted(files) if name not in _READ and name not in shards]
    sync(target)
    positions = kept.get("max_position_embeddings", kept.get("max_seq_len", kept.get("n_positions")))
    return CleanCopy(
        architecture=family,
        parameters=parameters,
        max_positions=positions if isinstance(positions, int) and positions > 0 else None,
        has_chat_template=has_chat_template,
        left_out=tuple(left_out),
    )


def check(source: Path) -> None:
    """Do nothing if `source` seems to hold a usable model: its configuration and the headers of its weights are read.

    Raises:
        InvalidData: it holds none; names the file and the mend.
    """
    files = _listed(source)
    json_files.clean_config(_config(files, source))
    _checked_weights(files, source)


def is_wanted(name: str) -> bool:
    """Say whether a file of this name is looked at; never true of a name with a slash."""
    return name in _READ or _WEIGHTS.fullmatch(name) is not None


def _config(files: dict[str, Path], source: Path) -> dict[str, Json]:
    config = _read_json(files, "config.json")
    if config is None:
        raise InvalidData(
            where=str(source), problem="holds no config.json", fix="name a Hugging Face-format model folder"
        )
    return config


def _listed(source: Path) -> dict[str, Path]:
    """Give the files of a folder by name, each seen to lie inside of it."""
    if not source.is_dir():
        raise InvalidData(where=str(source), problem="is no folder", fix="name a Hugging Face-format model folder")
    files: dict[str, Path] = {}
    for entry in sorted(source.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            continue
        if len(files) >= MAX_FILES:
            raise InvalidData(where=str(source), problem=f"holds more than {MAX_FILES} files")
        files[entry.name] = _inside(entry, source) if is_wanted(entry.name) else entry
    return files


def _inside(entry: Path, source: Path) -> Path:
    """Give the real path of an entry; a link may lead to its own folder, or to the blobs of the hub's cache."""
    real = entry.resolve()
    allowed = [source.resolve()]
    if source.resolve().parent.name == "snapshots":
        allowed.append(source.resolve().parent.parent / "blobs")
    if real.parent not in allowed:
        raise InvalidData(
            where=entry.name, problem="is a link that leads out of the folder", fix="put the file itself there"
        )
    return real


def _open(path: Path) -> BinaryIO:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InvalidData(where=path.name, problem="is no regular file")
    return os.fdopen(descriptor, "rb")


def _read_bytes(files: dict[str, Path], name: str) -> bytes | None:
    if name not in files:
        return None
    with _open(files[name]) as file:
        data = file.read(MAX_JSON_BYTES + 1)
    if len(data) > MAX_JSON_BYTES:
        raise InvalidData(where=name, problem=f"is longer than {MAX_JSON_BYTES // 2**20} MiB")
    return data


def _read_json(files: dict[str, Path], name: str) -> dict[str, Json] | None:
    data = _read_bytes(files, name)
    return None if data is None else json_files.parse(data, name)


def _checked_weights(files: dict[str, Path], source: Path) -> tuple[list[str], int]:
    """Give the weight files to copy and the number of parameters in them, all headers checked."""
    index = _read_json(files, INDEX)
    if index is None:
        if SINGLE not in files:
            raise _no_weights(files, source)
        tensors = safetensors_files.read_header(files[SINGLE], SINGLE)
        return [SINGLE], _parameters(tensors)
    places = index.get("weight_map")
    if not isinstance(places, dict) or not places or not all(isinstance(name, str) for name in places.values()):
        raise InvalidData(where=f"{INDEX}: weight_map", problem="does not say which file holds which tensor")
    shards = sorted(set(places.values()))
    absent = [name for name in shards if name not in files or not _WEIGHTS.fullmatch(name)]
    if absent:
        raise InvalidData.of(
            Fault(where=f"{INDEX}: weight_map", found=name, problem="names a file that is not in the folder")
            for name in absent
        )
    parameters = 0
    for name in shards:
        tensors = safetensors_files.read_header(files[name], name)
        if {tensor.name for tensor in tensors} != {tensor for tensor, place in places.items() if place == name}:
            raise InvalidData(where=name, problem=f"holds other tensors than {INDEX} says", fix="get the files anew")
        parameters += _parameters(tensors)
    return shards, parameters


def _parameters(tensors: Sequence[safetensors_files.Tensor]) -> int:
    return sum(tensor.count for tensor in tensors if tensor.is_weight)


def _no_weights(files: dict[str, Path], source: Path) -> InvalidData:
    if any(name.startswith("adapter_model") for name in files):
        return InvalidData(
            where=str(source), problem="holds an adapter, not a model", fix="merge it into its base model first"
        )
    if any(name.endswith((".bin", ".pt", ".pth", ".ckpt")) for name in files):
        return InvalidData(
            where=str(source),
            problem="holds its weights only as pickle files, which can run code when they are read",
            fix="get the model in safetensors format, or convert it on a machine that you can afford to lose",
        )
    return InvalidData(
        where=str(source), problem=f"holds neither {SINGLE} nor {INDEX}", fix="name a Hugging Face-format model folder"
    )


def _write_tokenizer(files: dict[str, Path], source: Path, target: Path, config: dict[str, Json]) -> bool:
    """Write the tokenizer's files; say whether a chat template is among them."""
    data = _read_bytes(files, "tokenizer.json")
    if data is None:
        raise InvalidData(
            where=str(source),
            problem="holds no tokenizer.json",
            fix="save the tokenizer once with AutoTokenizer.from_pretrained(...).save_pretrained(...)",
        )
    tokenizer = json_files.parse(data, "tokenizer.json")
    json_files.check_tokenizer(tokenizer)
    tokens, rows = json_files.vocabulary_size(tokenizer), config.get("vocab_size")
    if isinstance(rows, int) and tokens > rows:
        raise InvalidData(
            where="tokenizer.json",
            found=f"{tokens} tokens",
            problem=f"has more tokens than the {rows} that the model knows (config.json: vocab_size)",
            fix="take tokenizer and weights of the same model",
        )
    settings = _read_json(files, "tokenizer_config.json") or {}
    special = _read_json(files, "special_tokens_map.json") or {}
    _write(target / "tokenizer.json", data)
    _write_json(target / "tokenizer_config.json", json_files.clean_tokenizer_config(settings, special))
    template = _read_bytes(files, "chat_template.jinja")
    if template is None:
        template = (json_files.chat_template_of(settings) or "").encode("utf-8", errors="replace")
    if not template:
        return False
    json_files.check_chat_template(template)
    _write(target / "chat_template.jinja", template)
    return True


def _write_index(files: dict[str, Path], target: Path) -> None:
    index = _read_json(files, INDEX) or {}
    total = sum(files[name].stat().st_size for name in set(index["weight_map"].values()))
    _write_json(target / INDEX, {"metadata": {"total_size": total}, "weight_map": index["weight_map"]})


def _reason(name: str) -> str:
    return f"{name}: {_REASONS.get(Path(name).suffix.lower(), 'not needed')}"


def _write_json(path: Path, value: dict[str, Json]) -> None:
    _write(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode("utf-8"))


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _copy(source: BinaryIO, path: Path) -> None:
    with source, path.open("xb") as file:
        while block := source.read(_BLOCK_BYTES):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
