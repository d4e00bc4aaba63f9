"""The folder of source prompts: what multitask prompt tuning may begin with; light to import.

    <folder>/<name>/source.json          what it is; written last
                    source.safetensors   prompt_embeddings [submodules * rows, width], float32, and of one that was made
                                         of tasks prefix_task_cols [tasks, submodules * rows, ranks] and
                                         prefix_task_rows [tasks, ranks, width]
    <folder>/.<name>.lock                held while one of this name is added or removed
    <folder>/.incoming-<name>-*          what is being added; a leftover of a crash is wiped by the next addition

Read when a job is asked for (control), when it trains (the child), and by `gyropilot prompts`, which alone writes. The
folder is the operator's: a request names a source prompt by its name, never by a path.
"""

from __future__ import annotations

import difflib
import shutil
from pathlib import Path

from gyropilot import clock
from gyropilot.base_models.installation import full_disk_told, incoming, locked
from gyropilot.errors import AlreadyExists, InvalidData, InvalidRequest, NotFound
from gyropilot.files import sync
from gyropilot.problems.text_generation.source_prompts import record, vectors
from gyropilot.problems.text_generation.source_prompts.record import NAME, RECORD, TENSORS, SourcePrompt


class SourcePrompts:
    """A folder of source prompts; any number of processes may use one at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, name: str) -> SourcePrompt | None:
        """Give a source prompt by its record and the header of its file; None if it is absent or cannot be read."""
        try:
            return self._read(name)
        except (NotFound, InvalidData):
            return None

    def list(self) -> list[SourcePrompt]:
        """Give the source prompts in name order; one that cannot be read is passed over."""
        found = (self.find(name) for name in self._names())
        return [one for one in found if one is not None]

    def verify(self, name: str) -> SourcePrompt:
        """Give a source prompt after reading every number of it.

        Raises:
            NotFound: there is none of this name.
            InvalidData: its files are not as they were added.
        """
        found = self._read(name)
        vectors.check_digest(found)
        return found

    def check_free(self, name: str) -> None:
        """Do nothing where a source prompt of this name can be added.

        Raises:
            InvalidRequest: the name cannot be one.
            AlreadyExists: the name is taken.
        """
        _check_name(name)
        self._check_not_there(name)

    def add(
        self,
        name: str,
        *,
        tensors: Path,
        submodules: int,
        tasks: tuple[str, ...],
        base_model: str,
        base_config_digest: str,
        made_by: str,
    ) -> SourcePrompt:
        """Copy a file of vectors into the folder as `name`, on disk before it can be seen.

        Args:
            name: Letters, digits, points, hyphens and underscores.
            tensors: A safetensors file with the keys above, all float32.
            submodules: How many sides its rows are of: 2 where the first half is an encoder's, the other a decoder's.
            tasks: Names of the tasks it was made of, in the order of the task matrices; () for a bare vector.
            base_model: Name of the base model it was made on; empty where that is not known.
            base_config_digest: SHA-256 of that model's config.json; empty where it is not known.
            made_by: Where it came from, in words.

        Raises:
            InvalidRequest: the name cannot be one.
            AlreadyExists: the name is taken.
            InvalidData: the file is not as above.
        """
        self.check_free(name)
        shape = vectors.check(tensors, submodules=submodules, tasks=tasks)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with full_disk_told(self._folder), locked(self._folder, name), incoming(self._folder, name) as partial:
            self._check_not_there(name)
            made = partial / name
            made.mkdir(mode=0o700)
            shutil.copyfile(tensors, made / TENSORS)
            added = SourcePrompt(
                name=name,
                base_model=base_model,
                base_config_digest=base_config_digest,
                width=shape.width,
                rows=shape.rows,
                submodules=submodules,
                tasks=tasks,
                ranks=shape.ranks,
                made_by=made_by,
                created_at=clock.now(),
                digest=vectors.digest(made / TENSORS),
                folder=made,
            )
            record.write(added)
            sync(made / TENSORS)
            sync(made)
            made.rename(self._folder / name)
            sync(self._folder)
        return self._read(name)

    def remove(self, name: str) -> None:
        """Delete a source prompt; jobs that have begun with it keep what they read.

        Raises:
            NotFound: there is none of this name.
        """
        path = self._folder / name
        if NAME.fullmatch(name) is None or not path.is_dir() or path.is_symlink():
            raise self._unknown(name)
        with locked(self._folder, name), incoming(self._folder, name) as removed:
            # Out of sight at once: a reader finds all of it or nothing.
            path.rename(removed / name)
            sync(self._folder)

    def _read(self, name: str) -> SourcePrompt:
        path = self._folder / name
        if NAME.fullmatch(name) is None or path.is_symlink() or not path.is_dir():
            raise self._unknown(name)
        found = record.read(path)
        shape = vectors.read_shape(found.folder / TENSORS, submodules=found.submodules, tasks=found.tasks)
        if (shape.rows, shape.width, shape.ranks) != (found.rows, found.width, found.ranks):
            raise InvalidData(
                where=str(path / RECORD),
                found=[shape.rows, shape.width, shape.ranks],
                problem=f"says {[found.rows, found.width, found.ranks]} of rows, width and ranks, the file another",
                fix=f"gyropilot prompts remove {name}, then make it again",
            )
        return found

    def _check_not_there(self, name: str) -> None:
        path = self._folder / name
        if path.exists() or path.is_symlink():
            raise AlreadyExists(f"there is a source prompt {name} already; gyropilot prompts remove {name}")

    def _names(self) -> tuple[str, ...]:
        return tuple(sorted(path.name for path in self._folder.glob("[!.]*")))

    def _unknown(self, name: str) -> NotFound:
        near = difflib.get_close_matches(name, self._names(), n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        return NotFound(f"there is no source prompt {name!r}; {hint}`gyropilot prompts list` shows all")


def _check_name(name: str) -> None:
    if NAME.fullmatch(name) is None:
        raise InvalidRequest(
            where="NAME",
            found=name,
            problem="is no name for a source prompt",
            fix="begin with a letter or digit, go on with those, points, hyphens and underscores, 63 at most",
        )
