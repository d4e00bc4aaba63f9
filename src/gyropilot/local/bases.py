"""Finds the base model that a call names: an installed one by its name, its name on the hub, or a folder by its path.

A folder is copied into a base-model store of its own, below the call's working folder: what is trained and served is
checked and digested as any base model is, and the home's store stays as it is.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from gyropilot.base_models import catalog
from gyropilot.base_models import folder as base_model_folder
from gyropilot.base_models.store import MAX_NAME_CHARACTERS, BaseModelStore
from gyropilot.errors import Fault, InvalidRequest
from gyropilot.problems.text_generation import asked_spec
from gyropilot.settings import Settings

_NAME_IT = "give the name of an installed model (`gyropilot models list`), or a folder"
_ODD = re.compile(r"[^a-zA-Z0-9]+")


@dataclass(frozen=True, kw_only=True)
class Base:
    """A base model by its name in a store; whether it is there is the matter of whoever checks it."""

    name: str
    root: Path
    """Folder of the store."""

    @property
    def store(self) -> BaseModelStore:
        """The store."""
        return BaseModelStore(self.root, allow_downloads=False)


@dataclass(frozen=True, kw_only=True)
class Named:
    """A base model as a call names it; nothing of it is brought here yet."""

    name: str
    folder: Path | None
    """Where it lies; None: it is looked for in the home's store by its name."""

    def is_here(self, settings: Settings) -> bool:
        """Say whether nothing has to be copied or fetched before it is used, as far as it can be used at all."""
        return self.folder is None and not _may_be_fetched(self.name, settings)


def base_of(given: object, settings: Settings, working: Path, *, where: str, name: str = "") -> Base:
    """Give the base model that was named; one of a folder is read and copied first, one that is known is fetched.

    Args:
        given: Its name here or on the hub, or a path; a path has a `/`, or is a Path.
        settings: Whose store is looked into, and whether models may be downloaded.
        working: Folder for a store of its own.
        where: What the caller calls the parameter.
        name: Under which a model of a folder is kept; empty: the folder's own.

    Raises:
        InvalidRequest: it is neither a text nor a path, or there is no such folder.
        InvalidData: the folder holds no model that can be used, or the model cannot be fetched.
    """
    return brought(named(given, where=where, name=name), settings, working)


def named(given: object, *, where: str, name: str = "") -> Named:
    """Give the base model that was named, as `base_of` takes it; of a folder no more than headers is read.

    Raises:
        InvalidRequest: it is neither a text nor a path, or there is no such folder.
        InvalidData: the folder holds no model that can be used.
    """
    if given is None:
        raise InvalidRequest(where=where, problem="is missing", fix=_NAME_IT)
    if not isinstance(given, str | os.PathLike) or not str(given).strip():
        raise InvalidRequest(where=where, found=given, problem="is no name and no path", fix=_NAME_IT)
    text = os.fspath(given)
    installed = {one.hub_id: one.name for one in catalog.CATALOG}.get(text, text)
    if isinstance(given, str) and not _is_path(installed):
        return Named(name=installed, folder=None)
    folder = Path(text).expanduser()
    if not folder.is_dir():
        fix = "give a folder of a Hugging Face-format model, or a name that `gyropilot models list` shows"
        raise InvalidRequest(where=where, found=text, problem="is no folder, and no installed model", fix=fix)
    base_model_folder.check(folder.resolve())
    return Named(name=name or _name_of(folder), folder=folder.resolve())


def licence_faults(found: Named, settings: Settings, *, accept_eula: bool, where: str) -> list[Fault]:
    """Give the fault of a licence that is not accepted, which is asked for before a model is fetched."""
    try:
        BaseModelStore(settings.base_models, allow_downloads=False).check_available(found.name, accept_eula=accept_eula)
    except InvalidRequest as error:
        return [asked_spec.of_licence(one, where) for one in error.faults if one.where.endswith(".AcceptEula")]
    return []


def brought(found: Named, settings: Settings, working: Path) -> Base:
    """Give a base model that was named; `base_of` says what is done for it.

    Raises:
        InvalidData: the folder holds no model that can be used, or the model cannot be fetched.
    """
    if found.folder is not None:
        root = working / "base_models"
        BaseModelStore(root, allow_downloads=False).add(found.name, found.folder, licence="the folder's own")
        return Base(name=found.name, root=root)
    if _may_be_fetched(found.name, settings):
        BaseModelStore(settings.base_models, settings.allow_downloads).pull(found.name)
    return Base(name=found.name, root=settings.base_models)


def _is_path(text: str) -> bool:
    return os.sep in text or "/" in text or text in {".", ".."} or text.startswith("~")


def _may_be_fetched(name: str, settings: Settings) -> bool:
    """Say whether a model is known and not here, and downloads are allowed."""
    store = BaseModelStore(settings.base_models, settings.allow_downloads)
    return settings.allow_downloads and catalog.find(name) is not None and store.find(name) is None


def _name_of(folder: Path) -> str:
    plain = _ODD.sub("-", folder.resolve().name).strip("-")[:MAX_NAME_CHARACTERS].strip("-") or "model"
    is_taken = any(one.name.casefold() == plain.casefold() for one in catalog.CATALOG)
    return f"{plain[: MAX_NAME_CHARACTERS - 6]}-local" if is_taken else plain
