"""Checks and writes safetensors files without loading them: the header is read by us before any library trusts it.

8 bytes little-endian: header length | header: JSON {name: {dtype, shape, data_offsets}} | tensor data, no gaps
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from gyropilot.errors import InvalidData

MAX_HEADER_BYTES = 100 * 10**6
MAX_TENSORS = 200_000
_BYTES_BY_DTYPE = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_FLOATS = {"F64", "F32", "F16", "BF16"}
Json = Any


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One entry of a header."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """Numbers in it."""
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Bytes of its data."""
        return self.count * _BYTES_BY_DTYPE[self.dtype]

    @property
    def is_weight(self) -> bool:
        """Whether its numbers count as parameters."""
        return self.dtype in _FLOATS


def read_header(path: Path, name: str) -> list[Tensor]:
    """Give the tensors of a file in data order, once every claim of the header holds.

    Raises:
        InvalidData: the header is too long, no JSON, or its offsets, shapes and sizes do not fit the file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 10 or not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
            raise _lie(name, length, f"header length does not fit a file of {size} bytes")
        header = _parsed(file.read(length), name)
    entries = [(entry, key) for key, entry in header.items() if key != "__metadata__"]
    if len(entries) > MAX_TENSORS:
        raise _lie(name, len(entries), f"more than {MAX_TENSORS} tensors")
    placed = sorted((_placed(key, entry, name) for entry, key in entries), key=lambda one: (one[0], one[1]))
    position = 0
    for start, end, tensor in placed:
        if start != position or end - start != tensor.size_bytes:
            raise _lie(
                f"{name}: tensor {tensor.name!r}",
                [start, end],
                f"data_offsets do not follow byte {position} or do not hold {tensor.dtype} {list(tensor.shape)}",
            )
        position = end
    if position != size - 8 - length:
        raise _lie(name, position, f"tensors do not fill the {size - 8 - length} bytes behind the header")
    return [tensor for _, _, tensor in placed]


def write(
    path: Path, tensors: Sequence[Tensor], data_of: Callable[[Tensor], bytes], metadata: Mapping[str, str]
) -> None:
    """Write a file in the given order, one tensor in memory at a time; equal tensors give equal bytes."""
    header: dict[str, Json] = {"__metadata__": dict(metadata)}
    position = 0
    for tensor in tensors:
        end = position + tensor.size_bytes
        header[tensor.name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [position, end]}
        position = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format aligns its data to 8 bytes
    with path.open("xb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors:
            _write_exactly(file, data_of(tensor), tensor)


def _write_exactly(file: BinaryIO, data: bytes, tensor: Tensor) -> None:
    if len(data) != tensor.size_bytes:
        raise ValueError(f"{tensor.name}: {len(data)} bytes where {tensor.size_bytes} belong")
    file.write(data)


def _parsed(text: bytes, name: str) -> dict[str, Json]:
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise _lie(name, text[:40], "header is not JSON, or names a tensor twice") from error
    if not isinstance(header, dict):
        raise _lie(name, text[:40], "header is no JSON object")
    return header


def _without_duplicates(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key stands twice")
    return values


def _placed(key: str, entry: Json, name: str) -> tuple[int, int, Tensor]:
    where = f"{name}: tensor {key!r}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _lie(where, entry, "entry does not have exactly dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _BYTES_BY_DTYPE:
        raise InvalidData(
            where=where,
            found=dtype,
            problem="number type is not used here",
            fix="save the model in bfloat16 or float32",
        )
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2 or len(shape) > 8:
        raise _lie(where, entry, "shape or data_offsets are no lists of sizes")
    return offsets[0], offsets[1], Tensor(name=key, dtype=dtype, shape=tuple(shape))


def _are_sizes(values: Json) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**48 for value in values)


def _lie(where: str, found: Json, problem: str) -> InvalidData:
    return InvalidData(
        where=where, found=found, problem=f"safetensors file is damaged or forged: {problem}", fix="get the file anew"
    )
