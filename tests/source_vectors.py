"""Vectors of source prompts for tests, written without torch."""

from __future__ import annotations

import random
from array import array

from gyropilot.base_models import safetensors_files
from gyropilot.base_models.safetensors_files import Tensor

WIDTH, ROWS, TASKS, RANKS = 8, 4, ("colours", "towns", "numbers"), 2


def shapes(*, width=WIDTH, rows=ROWS, tasks=3, ranks=RANKS):
    """Give the shape of each tensor of a source prompt; `rows` of all sides together."""
    bare = {"prompt_embeddings": (rows, width)}
    return (
        {**bare, "prefix_task_cols": (tasks, rows, ranks), "prefix_task_rows": (tasks, ranks, width)} if tasks else bare
    )


def write(path, by_name=None, *, value=None, dtype="F32"):
    """Write random float32 tensors of these shapes, or `value` everywhere."""
    draw = random.Random(7)
    tensors = [Tensor(name=name, dtype=dtype, shape=shape) for name, shape in (by_name or shapes()).items()]

    def data_of(tensor):
        numbers = array("f", [draw.gauss(0, 1) if value is None else value for _ in range(tensor.count)])
        return numbers.tobytes()[: tensor.size_bytes]

    safetensors_files.write(path, tensors, data_of, {})
    return path
