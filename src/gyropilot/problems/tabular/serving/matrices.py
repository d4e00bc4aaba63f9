r"""What the first container of a chain hands to the second: rows of numbers as bytes, dense or sparse.

A body is blocks one after another, each a line of JSON and then the bytes of its arrays, little-endian:

    {"form": "dense", "shape": [rows, columns], "reply": ...}\n            values float32, row by row
    {"form": "sparse", "shape": [...], "stored": n, "reply": ...}\n        values float32 [n], columns int32 [n],
                                                                           row starts int64 [rows + 1]

`reply` is the content type in which the caller wrote the rows, and wants the answer where it does not say.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gyropilot.errors import InvalidRequest
from gyropilot.problems.contract import Json
from gyropilot.problems.tabular.serving.media_types import REPLY_TYPES, MediaType

if TYPE_CHECKING:
    import numpy.typing as npt
    from scipy.sparse import csr_matrix

MATRIX = "application/x-gyropilot-matrix"
_LONGEST_HEAD = 1000
_MOST = 2**40


@dataclass(frozen=True, kw_only=True)
class Block:
    """Some rows."""

    matrix: csr_matrix | npt.NDArray[np.float32]
    """[row, encoded feature]"""
    reply: MediaType


def write(matrix: csr_matrix | npt.NDArray[np.float32], *, reply: MediaType) -> bytes:
    """Give the bytes of a block."""
    head: dict[str, Json] = {"form": "dense", "shape": [int(one) for one in matrix.shape], "reply": reply}
    if isinstance(matrix, np.ndarray):
        return _head(head) + np.ascontiguousarray(matrix, dtype="<f4").tobytes()
    rows = matrix.tocsr()
    parts = (rows.data.astype("<f4"), rows.indices.astype("<i4"), rows.indptr.astype("<i8"))
    head |= {"form": "sparse", "stored": len(rows.data)}
    return _head(head) + b"".join(one.tobytes() for one in parts)


def read(body: bytes) -> Iterator[Block]:
    """Give the blocks of a body.

    Raises:
        InvalidRequest: it is none that `write` gave.
    """
    place = 0
    try:
        if not body:
            raise ValueError("it is empty")
        while place < len(body):
            end = body.index(b"\n", place, place + _LONGEST_HEAD) + 1
            head = json.loads(body[place:end])
            block, place = _block(head, body, end)
            yield block
    except (ValueError, KeyError, TypeError) as error:
        problem = f"is not what a feature transform hands over: {error}"
        fix = "send rows to the whole chain of containers"
        raise InvalidRequest(where=f"payload at byte {place}", problem=problem, fix=fix) from error


def _head(head: dict[str, Json]) -> bytes:
    return json.dumps(head).encode("ascii") + b"\n"


def _block(head: dict[str, Json], body: bytes, start: int) -> tuple[Block, int]:
    """Give the block whose arrays begin at `start`, and where they end."""
    rows, columns = (int(one) for one in head["shape"])
    stored = int(head["stored"]) if head["form"] == "sparse" else 0
    if not (0 <= rows < _MOST and 0 <= columns < _MOST and 0 <= stored < _MOST):
        raise ValueError("its shape is none")
    reply = REPLY_TYPES[head["reply"]]
    if head["form"] == "dense":
        values = np.frombuffer(body, dtype="<f4", count=rows * columns, offset=start)
        return Block(matrix=values.reshape(rows, columns), reply=reply), start + values.nbytes
    from scipy.sparse import csr_matrix

    values = np.frombuffer(body, dtype="<f4", count=stored, offset=start)
    places = np.frombuffer(body, dtype="<i4", count=stored, offset=start + values.nbytes)
    starts_at = start + values.nbytes + places.nbytes
    starts = np.frombuffer(body, dtype="<i8", count=rows + 1, offset=starts_at)
    matrix = csr_matrix((values, places, starts), shape=(rows, columns))
    matrix.check_format(full_check=True)
    return Block(matrix=matrix, reply=reply), starts_at + starts.nbytes
