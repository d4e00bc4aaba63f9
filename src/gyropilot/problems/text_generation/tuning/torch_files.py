"""Reads tensors of a torch file that others made: no code of it runs, and it takes no more memory than its bytes.

Only what torch.save writes since torch 1.6 is read: a zip of the tensors' bytes, stored as they are, and of one pickle.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

import torch

from gyropilot.errors import InvalidData

_MOST_BYTES, _MOST_PICKLE_BYTES = 2**30, 2**20
_BUILDERS = frozenset(
    {
        "collections OrderedDict",
        "torch._utils _rebuild_parameter",
        "torch._utils _rebuild_tensor_v2",
        *(f"torch {kind}Storage" for kind in ("BFloat16", "Bool", "Byte", "Char", "Double", "Float", "Half")),
        *(f"torch {kind}Storage" for kind in ("Int", "Long", "Short")),
    }
)
"""What the pickle may name: tensors with their bytes. torch would also take a bytearray, of any length."""


def read(path: Path, *, what: str, fix: str) -> torch.Tensor | Mapping[str, torch.Tensor]:
    """Give the tensor, or the tensors by their names, that the file holds, on the CPU.

    Args:
        path: A file; not a link.
        what: What it should hold, for messages: `a tensor`.
        fix: How to mend it.

    Raises:
        InvalidData: it is no such file, is compressed, too large, or holds anything else.
    """
    try:
        _check_parts(path)
        # weights_only builds tensors and plain containers alone. A broken file makes it raise whatever it meets.
        found = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251 -- no code of the file runs
        _check_extent(found.values() if isinstance(found, dict) else [found])
    except Exception as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidData(where=str(path), problem=f"cannot be read as {what}: {said}", fix=fix) from error
    return cast(torch.Tensor | Mapping[str, torch.Tensor], found)


def _check_parts(path: Path) -> None:
    with zipfile.ZipFile(path) as file:
        parts = file.infolist()
        if any(one.compress_type != zipfile.ZIP_STORED for one in parts):
            raise ValueError("it is compressed, which torch.save does not do")
        if sum(one.file_size for one in parts) > min(_MOST_BYTES, path.stat().st_size):
            raise ValueError(f"its parts are larger than the file, or than {_MOST_BYTES} bytes")
        pickles = [one for one in parts if one.filename.endswith(".pkl")]
        if sum(one.file_size for one in pickles) > _MOST_PICKLE_BYTES:
            raise ValueError("it holds more than tensors")
        for one in pickles:
            _check_pickle(file.read(one))


def _check_pickle(content: bytes) -> None:
    for code, argument, _ in pickletools.genops(content):
        named = argument if code.name == "GLOBAL" else code.name
        if named not in _BUILDERS and code.name in {"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX"}:
            raise ValueError(f"it holds more than tensors: {named}")


def _check_extent(tensors: Iterable[object]) -> None:
    """Raise unless all are tensors that are no larger than the bytes they are made of, as one repeated number is."""
    total = 0
    for one in tensors:
        if not isinstance(one, torch.Tensor) or one.layout != torch.strided or one.device.type != "cpu":
            raise ValueError(f"it holds more than tensors: {type(one).__name__}")
        total += one.numel() * max(4, one.element_size())  # as float32, which they become
    if total > _MOST_BYTES:
        raise ValueError(f"its tensors are larger than {_MOST_BYTES} bytes")
