"""The folder of a tuned model outside a service: made of a job's output, copied, and recognised.

    gyropilot-serving.json ...   the model as endpoints load it: tokenizer, template, weights if there are any
    adapter/                     what was trained, where it is served beside the base
    caikit/                      rows once more, as caikit-nlp has them
    gyropilot-tuning.json        what was asked for, and what training chose
    evaluation.json training.jsonl lineage.json report.html
    base_models/<name>/          the base model, where it was saved too

Light to import: no torch.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from gyropilot.errors import InvalidData, InvalidRequest
from gyropilot.problems.text_generation import file_names

Json = Any
Kind = Literal["saved", "output", "peer", "adapter"]
TUNING = "gyropilot-tuning.json"
BASES = "base_models"
MODEL, ADAPTER, PEER, SERVING = file_names.MODEL, file_names.ADAPTER, file_names.PEER, file_names.SERVING
_WEIGHTS = "*.safetensors"
_RECORDS = ("evaluation.json", "training.jsonl", "lineage.json", "report.html")
_MARKS: tuple[tuple[str, Kind], ...] = (
    (SERVING, "saved"),
    (f"{MODEL}/{SERVING}", "output"),
    (file_names.PEFT_CONFIG, "adapter"),
    (file_names.OWN_CONFIG, "adapter"),
    ("config.yml", "peer"),
)


def kind_of(folder: Path) -> Kind:
    """Say what a folder holds: a saved model, a job's output, caikit-nlp's prompt, or an adapter of PEFT.

    Raises:
        InvalidData: nothing of these.
    """
    for name, kind in _MARKS:
        if (folder / name).is_file():
            return kind
    raise InvalidData(
        where=str(folder),
        problem="is no folder of a tuned model" if folder.is_dir() else "is no folder",
        fix="give a folder that save wrote, a job's output, caikit-nlp's (config.yml) or PEFT's (adapter_config.json)",
    )


def lay_out(output: Path, folder: Path, *, shares_base: bool, tuning: Mapping[str, Json] | None) -> None:
    """Move a job's output into the new folder `folder`.

    Args:
        output: As training leaves it, or as it was downloaded.
        folder: Must not be there.
        shares_base: What was trained is served beside the base: weights that it was merged into are left out.
        tuning: For gyropilot-tuning.json.
    """
    folder.mkdir(parents=True)
    for path in (output / MODEL).iterdir():
        if not (shares_base and (path.match(_WEIGHTS) or path.name.endswith(".safetensors.index.json"))):
            shutil.move(path, folder / path.name)
    for name in (ADAPTER, PEER, *_RECORDS):
        if (output / name).exists():
            shutil.move(output / name, folder / name)
    if tuning is not None:
        (folder / TUNING).write_text(json.dumps({"format": 1, **tuning}, indent=1) + "\n", encoding="utf-8")


def has_weights(folder: Path) -> bool:
    """Say whether a model's folder holds all of its weights, so that it needs no base."""
    return any(folder.glob(_WEIGHTS))


def read_json(folder: Path, name: str) -> dict[str, Json]:
    """Give a JSON file of the folder; an empty object where there is none.

    Raises:
        InvalidData: it is not JSON.
    """
    file = folder / name
    if not file.is_file():
        return {}
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError("it is no object")
        return values
    except (OSError, ValueError, RecursionError) as error:
        fix = "save or download the model again"
        raise InvalidData(where=str(file), problem=f"cannot be read: {error}", fix=fix) from error


def read_lines(folder: Path, name: str) -> list[dict[str, Json]]:
    """Give the JSON objects of a file with one in each line; none where there is no file."""
    file = folder / name
    if not file.is_file():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def check_free(folder: Path, *, where: str) -> None:
    """Raise InvalidRequest where a model cannot be written to `folder`: something lies there, or it cannot be made."""
    fix = "name another folder"
    above = folder
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            fix = "name a folder that is empty or not there"
            raise InvalidRequest(where=where, found=str(folder), problem="is there already, and not empty", fix=fix)
        above = next(one for one in folder.absolute().parents if one.exists())
        if not above.is_dir():
            raise InvalidRequest(where=where, found=str(folder), problem=f"cannot be made: {above} is a file", fix=fix)
        # Permissions alone do not tell: a file system may be read-only, or take no folders.
        tempfile.TemporaryDirectory(prefix=".gyropilot-", dir=above).cleanup()
    except OSError as error:
        problem = f"cannot be made: {above}: {error.strerror or error}"
        raise InvalidRequest(where=where, found=str(folder), problem=problem, fix=fix) from error


def copy(files: Path, folder: Path, *, base: Path | None) -> None:
    """Copy a model's folder, whole or not at all; with the base model's folder, where one is given.

    Raises:
        InvalidRequest: something lies in the place.
    """
    check_free(folder, where="folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        made = Path(scratch) / "model"
        shutil.copytree(files, made, ignore=shutil.ignore_patterns(BASES))
        if base is not None:
            shutil.copytree(base, made / BASES / base.name)
        if folder.exists():
            folder.rmdir()
        made.rename(folder)
