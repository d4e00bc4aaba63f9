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
from gyropilot.base_models.store import MAX_NAME_CHARACTERS, BaseModelStore
from gyropilot.errors import InvalidRequest
from gyropilot.settings import Settings

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


def base_of(given: object, settings: Settings, working: Path, *, where: str, name: str = "") -> Base:
    """Give the base model that was named; one of a folder is read and copied first.

    Args:
        given: Its name here or on the hub, or a path; a path has a `/`, or is a Path.
        settings: Whose store is looked into, and whether models may be downloaded.
        working: Folder for a store of its own.
        where: What the caller calls the parameter.
        name: Under which a model of a folder is kept; empty: the folder's own.

    Raises:
        InvalidRequest: it is neither a text nor a path, or there is no such folder.
        InvalidData: the folder holds no model that can be used.
    """
    if not isinstance(given, str | os.PathLike) or not str(given).strip():
        fix = "give the name of an installed model (`gyropilot models list`), or a folder"
        raise InvalidRequest(where=where, found=given, problem="is no name and no path", fix=fix)
    text = os.fspath(given)
    installed = {one.hub_id: one.name for one in catalog.CATALOG}.get(text, text)
    if isinstance(given, str) and not _is_path(installed):
        _pull(installed, settings)
        return Base(name=installed, root=settings.base_models)
    folder = Path(text).expanduser()
    if not folder.is_dir():
        fix = "give a folder of a Hugging Face-format model, or a name that `gyropilot models list` shows"
        raise InvalidRequest(where=where, found=text, problem="is no folder, and no installed model", fix=fix)
    return _of_folder(folder, working / "base_models", name or _name_of(folder))


def _is_path(text: str) -> bool:
    return os.sep in text or "/" in text or text in {".", ".."} or text.startswith("~")


def _pull(name: str, settings: Settings) -> None:
    """Fetch a model that is known and not here, where downloads are allowed."""
    store = BaseModelStore(settings.base_models, settings.allow_downloads)
    if settings.allow_downloads and catalog.find(name) is not None and store.find(name) is None:
        store.pull(name)


def _of_folder(folder: Path, root: Path, name: str) -> Base:
    BaseModelStore(root, allow_downloads=False).add(name, folder.resolve(), licence="the folder's own")
    return Base(name=name, root=root)


def _name_of(folder: Path) -> str:
    plain = _ODD.sub("-", folder.resolve().name).strip("-")[:MAX_NAME_CHARACTERS].strip("-") or "model"
    is_taken = any(one.name.casefold() == plain.casefold() for one in catalog.CATALOG)
    return f"{plain[: MAX_NAME_CHARACTERS - 6]}-local" if is_taken else plain
