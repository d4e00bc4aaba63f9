"""What a source prompt is: its record, source.json, and what of a job it fits; light to import."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from gyropilot.errors import Fault, InvalidData
from gyropilot.files import sha256_of, write_whole
from gyropilot.problems.text_generation import file_names
from gyropilot.problems.text_generation.tuning.specification import InitMethod

Json = Any
RECORD, TENSORS = "source.json", file_names.SOURCE
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
CONFIG = "config.json"
_FORMAT = 1
_MOST_BYTES = 2**20
_WIDTHS = ("word_embed_proj_dim", "embedding_size", "hidden_size", "d_model", "n_embd", "dim")
"""Under which key a config.json says how wide its input embedding is; the first that is there counts."""


@dataclass(frozen=True, kw_only=True)
class SourcePrompt:
    """One source prompt."""

    name: str
    base_model: str
    """Name of the base model it was made on; empty where that is not known."""
    base_config_digest: str
    """SHA-256 of that model's config.json; empty where it is not known."""
    width: int
    rows: int
    """Virtual tokens of one side: what num_virtual_tokens must be."""
    submodules: int
    """Sides it has rows for: 2 where the first half is an encoder's, the second a decoder's."""
    tasks: tuple[str, ...]
    """Empty for a bare vector, which has no task matrices."""
    ranks: int
    """Of the task matrices; 0 for a bare vector."""
    made_by: str
    created_at: datetime
    digest: str
    """SHA-256 of source.safetensors."""
    folder: Path

    @property
    def tensors(self) -> Path:
        """The safetensors file."""
        return self.folder / TENSORS

    @property
    def init_methods(self) -> tuple[InitMethod, ...]:
        """The ways to begin with it; the mean of the tasks needs tasks."""
        return ("ONLY_SOURCE_SHARED", "AVERAGE_SOURCE") if self.tasks else ("ONLY_SOURCE_SHARED",)

    def to_json(self) -> dict[str, Json]:
        """Give the record as JSON values, the folder left out."""
        values = asdict(self) | {"tasks": list(self.tasks), "created_at": self.created_at.isoformat()}
        del values["folder"]
        return values


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a job would have of a source prompt."""

    method: InitMethod
    base_model: str
    """Its name, for messages."""
    base_folder: Path
    """The installed model's folder, with its config.json."""
    num_virtual_tokens: int
    prompt_ranks: int
    submodules: int
    """Sides that are tuned: the length of output_model_types."""


def misfits(source: SourcePrompt, wanted: Wanted, *, where: Callable[[str], str]) -> tuple[Fault, ...]:
    """Give what keeps a job from beginning with a source prompt; () where it fits.

    Args:
        source: The source prompt.
        wanted: What the job asks for.
        where: Gives for a field's name, as `num_virtual_tokens`, where the caller wrote it.
    """
    name, field = source.name, where("prompt_tuning_init_source_model")
    faults = _base_misfits(source, wanted, field)
    if wanted.method not in source.init_methods:
        problem = f"{name} is a bare vector without tasks, which {wanted.method} takes the mean of"
        mend = "take ONLY_SOURCE_SHARED, or a source prompt that was made of tasks"
        faults.append(Fault(where=where("prompt_tuning_init_method"), found=wanted.method, problem=problem, fix=mend))
    elif wanted.method == "AVERAGE_SOURCE" and wanted.prompt_ranks != source.ranks:
        problem = f"source prompt {name} has task matrices of rank {source.ranks}"
        mend = f"give {source.ranks}"
        faults.append(Fault(where=where("prompt_ranks"), found=wanted.prompt_ranks, problem=problem, fix=mend))
    if wanted.num_virtual_tokens != source.rows:
        problem, mend = f"source prompt {name} has {source.rows} rows", f"give {source.rows}, or leave it out"
        faults.append(
            Fault(where=where("num_virtual_tokens"), found=wanted.num_virtual_tokens, problem=problem, fix=mend)
        )
    if wanted.submodules != source.submodules:
        problem = f"source prompt {name} has rows for {_sides(source.submodules)}"
        mend = f"name {_sides(source.submodules)}, or another source prompt"
        faults.append(
            Fault(where=where("output_model_types"), found=_sides(wanted.submodules), problem=problem, fix=mend)
        )
    return tuple(faults)


def config_digest(folder: Path) -> str:
    """Give the SHA-256 of the config.json of a base model's folder."""
    return sha256_of(folder / CONFIG)


def embedding_width(folder: Path) -> int | None:
    """Give how wide the input embedding of a base model's folder is; None where its config.json does not say."""
    config: Mapping[str, Json] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    return next((int(config[key]) for key in _WIDTHS if config.get(key)), None)


def write(source: SourcePrompt) -> None:
    """Write the record into the source prompt's folder, durably."""
    write_whole(source.folder / RECORD, json.dumps({"format": _FORMAT, **source.to_json()}, indent=1))


def read(folder: Path) -> SourcePrompt:
    """Give the source prompt whose record lies in `folder`.

    Raises:
        InvalidData: the record is missing, behind a link, too long, no JSON, of another format or of another name.
    """
    try:
        path = folder / RECORD
        if path.is_symlink() or path.stat().st_size > _MOST_BYTES:
            raise ValueError("it is a link, or too long")
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("format") != _FORMAT or values["name"] != folder.name:
            raise ValueError("format or name is not as expected")
        tasks = tuple(str(one) for one in values.pop("tasks"))
        created_at = datetime.fromisoformat(values.pop("created_at"))
        if not all(type(values[one]) is int for one in ("width", "rows", "submodules", "ranks")):
            raise ValueError("a count is no whole number")
        return SourcePrompt(folder=folder, tasks=tasks, created_at=created_at, **values)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidData(
            where=f"source prompt {folder.name}",
            problem=f"its record {RECORD} cannot be read: {error}",
            fix=f"gyropilot prompts remove {folder.name}, then make it again",
        ) from error


def _base_misfits(source: SourcePrompt, wanted: Wanted, field: str) -> list[Fault]:
    base, mend = wanted.base_model, "gyropilot prompts list shows which base model each is for"
    of = source.base_model or "another base model"
    width = embedding_width(wanted.base_folder)
    if width is not None and width != source.width:
        problem = f"is {source.width} numbers wide, of {of}; {base} takes {width}"
        return [Fault(where=field, found=source.name, problem=problem, fix=mend)]
    if source.base_config_digest and source.base_config_digest != config_digest(wanted.base_folder):
        problem = f"was made on {of}, whose configuration is not that of {base}"
        return [Fault(where=field, found=source.name, problem=problem, fix=mend)]
    return []


def _sides(submodules: int) -> str:
    return "ENCODER and DECODER" if submodules == 2 else "one side"
