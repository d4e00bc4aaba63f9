"""Checks the vectors of source prompts, header first, then every number; light to import: no torch, no numpy."""

from __future__ import annotations

import math
import sys
from array import array
from dataclasses import dataclass
from pathlib import Path

from gyropilot.base_models.safetensors_files import Tensor, read_header
from gyropilot.errors import Fault, InvalidData
from gyropilot.files import sha256_of
from gyropilot.problems.text_generation.source_prompts.record import TENSORS, SourcePrompt

EMBEDDINGS, COLUMNS, ROWS = "prompt_embeddings", "prefix_task_cols", "prefix_task_rows"
"""Keys of the file, as PEFT names them."""
_MOST_BYTES = 2**30
_CHUNK = 2**20


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What the header of a file says."""

    rows: int
    """Of one side."""
    width: int
    ranks: int
    """0 for a bare vector."""


def read_shape(path: Path, *, submodules: int, tasks: tuple[str, ...]) -> Shape:
    """Give the shape of a file of vectors once its header holds together.

    Raises:
        InvalidData: the file is absent, behind a link, no safetensors, or its tensors do not fit each other, the
            tasks or the sides; names all that is wrong.
    """
    if path.is_symlink() or not path.is_file():
        raise InvalidData(
            where=str(path), problem="is no file of the folder itself", fix="make the source prompt again"
        )
    if path.stat().st_size > _MOST_BYTES:
        found, problem = f"{path.stat().st_size} bytes", f"is larger than the {_MOST_BYTES} bytes that are read"
        raise InvalidData(where=str(path), found=found, problem=problem, fix="give vectors alone")
    by_name = {one.name: one for one in read_header(path, str(path))}
    wanted = (EMBEDDINGS, COLUMNS, ROWS) if tasks else (EMBEDDINGS,)
    faults = _key_faults(path, by_name, wanted) or _shape_faults(path, by_name, submodules, tasks)
    if faults:
        raise InvalidData.of(faults)
    total, width = by_name[EMBEDDINGS].shape
    return Shape(rows=total // submodules, width=width, ranks=by_name[ROWS].shape[1] if tasks else 0)


def check(path: Path, *, submodules: int, tasks: tuple[str, ...]) -> Shape:
    """Give what `read_shape` does, after a look at every number.

    Raises:
        InvalidData: as `read_shape`, or a number is not finite.
    """
    shape = read_shape(path, submodules=submodules, tasks=tasks)
    with path.open("rb") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        while data := file.read(_CHUNK):
            numbers = array("f", data)
            if sys.byteorder == "big":
                numbers.byteswap()
            if not all(map(math.isfinite, numbers)):
                problem, mend = "holds numbers that are not finite", "make it again with a smaller learning rate"
                raise InvalidData(where=str(path), problem=problem, fix=mend)
    return shape


def digest(path: Path) -> str:
    """Give the SHA-256 of a file."""
    return sha256_of(path)


def check_digest(source: SourcePrompt) -> None:
    """Raise InvalidData where the file is another than the one that was added."""
    if digest(source.tensors) != source.digest:
        raise InvalidData(
            where=f"source prompt {source.name}: {TENSORS}",
            problem="has another content than the one recorded",
            fix=f"gyropilot prompts remove {source.name}, then make it again",
        )


def _key_faults(path: Path, by_name: dict[str, Tensor], wanted: tuple[str, ...]) -> list[Fault]:
    if set(by_name) != set(wanted):
        problem, mend = f"does not hold exactly {', '.join(wanted)}", "give what PEFT saves for multitask prompt tuning"
        return [Fault(where=str(path), found=sorted(by_name), problem=problem, fix=mend)]
    return [
        Fault(where=f"{path}: {one.name}", found=one.dtype, problem="is not float32", fix="save it as float32")
        for one in by_name.values()
        if one.dtype != "F32"
    ]


def _shape_faults(path: Path, by_name: dict[str, Tensor], submodules: int, tasks: tuple[str, ...]) -> list[Fault]:
    embeddings = by_name[EMBEDDINGS].shape
    if len(embeddings) != 2 or 0 in embeddings or embeddings[0] % submodules:
        problem = "is no [submodules * rows, width]" if submodules == 1 else "has rows that two sides cannot share"
        mend = "give 2-D vectors, as many rows for each side"
        return [Fault(where=f"{path}: {EMBEDDINGS}", found=list(embeddings), problem=problem, fix=mend)]
    if not tasks:
        return []
    total, width = embeddings
    ranks = by_name[ROWS].shape[1] if len(by_name[ROWS].shape) == 3 else 0
    wanted = {COLUMNS: (len(tasks), total, ranks), ROWS: (len(tasks), ranks, width)}
    faults = []
    for name, shape in wanted.items():
        if by_name[name].shape != shape or 0 in shape:
            problem = f"does not fit {len(tasks)} tasks, {total} rows and a width of {width}"
            mend = "give all three tensors of one training"
            faults.append(Fault(where=f"{path}: {name}", found=list(by_name[name].shape), problem=problem, fix=mend))
    return faults
