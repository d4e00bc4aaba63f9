"""Where a candidate's files lie below its output folder, and how model folders are packed and read back.

sagemaker-automl-candidates/model/<candidate>/model.tar.gz     ensembling: the whole model
sagemaker-automl-candidates/model/<candidate>/leaderboard.json what was trained inside it, and what failed
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path

from gyropilot.problems.archives import unpack_archive
from gyropilot.problems.contract import Json

ARCHIVE = "model.tar.gz"
LEADERBOARD = "leaderboard.json"
VALIDATION_PREDICTIONS = "validation_predictions.npy"
"""[row], or [row, class]: what the model's parts that did not see a validation row say of it. There only where the
model as a whole did see these rows: then nothing else may be taken for what it says of unseen data."""


def candidate_folder(candidate: str) -> str:
    """Give where an ensembling candidate's files lie, relative to the output folder."""
    return f"sagemaker-automl-candidates/model/{candidate}"


def image() -> str:
    """Give the image of a container that serves a model of this version."""
    return f"gyropilot/tabular:{version('gyropilot')}"


def empty(folder: Path) -> Path:
    """Make a folder, or make it empty: a child that was killed may have left files there."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return folder


def unpack(output: Path, containers: Iterable[Mapping[str, Json]], into: Path) -> Path:
    """Unpack the archives of a candidate's containers into one folder, which `models.load` reads.

    Args:
        output: the candidate's output folder.
        containers: as in its TrainResult; several may name the same archive.
        into: made, or emptied, before.

    Raises:
        TrainingFailed: an archive is not there, or not whole.
    """
    empty(into)
    for path in dict.fromkeys(str(one["model_path"]) for one in containers):
        unpack_archive(output / path, into)
    return into


def write_json(path: Path, content: Json) -> None:
    """Write JSON for people and programs: indented, keys as given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
