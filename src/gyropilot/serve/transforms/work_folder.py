"""What a transform job has on disk until it ends: <home>/transforms/<job id>/.

    inputs.json     the objects to read, pinned once
    source          the object that is read just now
    7.part          answers to object 7, as far as they came; 7.mark says how far that is
    7.out           answers to object 7, whole; its mark stays
    7.failed        why object 7 has none

Nothing of it is in a bucket before every object is done, so a job that is stopped leaves nothing there, and one whose
service was killed goes on from its marks.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

from gyropilot.data.transform_inputs import TransformObject
from gyropilot.files import sync, write_whole
from gyropilot.serve.transforms.splitting import Mark
from gyropilot.store.folders import make_private_folder


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far an object is: what was read of it, and how long its part is by that."""

    mark: Mark = field(default_factory=Mark)
    written: int = 0


class WorkFolder:
    """The folder of one job; used by its run alone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.source = path / "source"

    def make(self) -> None:
        """Make the folder, owner only."""
        make_private_folder(self.path)

    def inputs(self) -> list[TransformObject] | None:
        """Give the pinned objects; None before they were."""
        with suppress(FileNotFoundError):
            return [TransformObject(**one) for one in json.loads((self.path / "inputs.json").read_text("utf-8"))]
        return None

    def pin(self, inputs: Iterable[TransformObject]) -> None:
        """Note the objects, durably."""
        write_whole(self.path / "inputs.json", json.dumps([asdict(one) for one in inputs]))

    def output(self, number: int) -> Path:
        """Give where the whole output of an object lies, or will."""
        return self.path / f"{number}.out"

    def failure(self, number: int) -> str | None:
        """Give why an object has no output; None where it has, or is not done."""
        with suppress(FileNotFoundError):
            return (self.path / f"{number}.failed").read_text("utf-8")
        return None

    def is_done(self, number: int) -> bool:
        """Say whether nothing is left to do for an object."""
        return self.output(number).exists() or self.failure(number) is not None

    def progress(self, number: int) -> Progress:
        """Give how far an object is."""
        with suppress(FileNotFoundError):
            noted = json.loads(self._mark(number).read_text("utf-8"))
            return Progress(mark=Mark(**noted["mark"]), written=noted["written"])
        return Progress()

    def open_part(self, number: int, progress: Progress) -> BinaryIO:
        """Give the part of an object, open for writing where its mark says; what lies behind that is dropped."""
        descriptor = os.open(self._part(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        os.ftruncate(descriptor, progress.written)
        file = os.fdopen(descriptor, "wb")
        file.seek(progress.written)
        return file

    def note(self, number: int, part: BinaryIO, progress: Progress) -> None:
        """Note how far an object is, durably, the part first."""
        part.flush()
        os.fsync(part.fileno())
        write_whole(self._mark(number), json.dumps(asdict(progress)))

    def finish(self, number: int) -> None:
        """Make the part of an object its whole output, durably."""
        sync(self._part(number))
        self._part(number).replace(self.output(number))
        sync(self.path)

    def fail(self, number: int, reason: str) -> None:
        """Note why an object has no output, and drop its part."""
        write_whole(self.path / f"{number}.failed", reason)
        self._part(number).unlink(missing_ok=True)
        self._mark(number).unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove all of it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _part(self, number: int) -> Path:
        return self.path / f"{number}.part"

    def _mark(self, number: int) -> Path:
        return self.path / f"{number}.mark"


def remove_others(folder: Path, is_open: Callable[[str], bool]) -> None:
    """Remove the folders of jobs that have ended, or are no more."""
    with suppress(FileNotFoundError):
        for one in folder.iterdir():
            if not is_open(one.name):
                shutil.rmtree(one, ignore_errors=True)
