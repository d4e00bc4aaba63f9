"""A training's own copy of the source prompt that it began with; called by the child, which needs torch for nothing.

The copy lies beside the checkpoints: a training that goes on begins with the same vectors, whatever became of the
folder of source prompts since.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from gyropilot.base_models.installation import incoming
from gyropilot.errors import InvalidData, NotFound, TrainingFailed
from gyropilot.problems.text_generation.source_prompts.record import RECORD, TENSORS, SourcePrompt
from gyropilot.problems.text_generation.source_prompts.store import SourcePrompts

FOLDER = "source_prompt"
"""In the folder of the checkpoints."""


def begun_with(name: str, *, digest: str | None, source_prompts: Path | None, checkpoints: Path) -> SourcePrompt:
    """Give the source prompt of a training, every number of it verified, in its copy; the first call makes that.

    Args:
        name: Of the source prompt.
        digest: What it had when the job was created; None: it was not told.
        source_prompts: Folder of the source prompts; None: there is none.
        checkpoints: Folder kept over attempts of this training.

    Raises:
        TrainingFailed: it is not there, or is another one than when the job was created.
        InvalidData: its files are not as they were added.
    """
    copies = SourcePrompts(checkpoints / FOLDER)
    try:
        return copies.verify(name)
    except (NotFound, InvalidData):
        found = _found(name, digest, source_prompts)
    _copy(found, checkpoints / FOLDER)
    return copies.verify(name)


def _found(name: str, digest: str | None, source_prompts: Path | None) -> SourcePrompt:
    if source_prompts is None:
        raise TrainingFailed(f"source prompt {name} is not here: the service has no folder of source prompts")
    try:
        found = SourcePrompts(source_prompts).verify(name)
    except NotFound as error:
        raise TrainingFailed(f"{error}; register it again and create the job again") from error
    if digest is not None and found.digest != digest:
        raise TrainingFailed(
            f"source prompt {name} is another one than when the job was created: its digest was {digest}, and is"
            f" {found.digest}; create the job again to begin with this one"
        )
    return found


def _copy(source: SourcePrompt, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # a copy that cannot be read
    folder.mkdir(parents=True)
    with incoming(folder, source.name) as partial:
        made = partial / source.name
        made.mkdir()
        for name in (TENSORS, RECORD):
            shutil.copyfile(source.folder / name, made / name)
        made.rename(folder / source.name)
