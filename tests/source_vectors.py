"""Vectors of source prompts for tests, written without torch."""

from __future__ import annotations

import json
import random
from array import array

import services
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


def bring(service, folder, tiny_model_folder):
    """Import a source prompt of the tiny model into a service's home, under the name of `folder`, which is made."""
    folder.mkdir()
    width = json.loads((tiny_model_folder / "config.json").read_text())["hidden_size"]
    write(folder / "adapter_model.safetensors", shapes(width=width))
    config = {"peft_type": "MULTITASK_PROMPT_TUNING", "base_model_name_or_path": services.TINY}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    imported = service.gyropilot("prompts", "import", folder)
    assert imported.returncode == 0, imported.stderr
