"""Loads a tuned model from a folder, whoever saved it; behind `gyropilot.tuning`."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path

from gyropilot.base_models import catalog
from gyropilot.base_models.store import BaseModelStore
from gyropilot.errors import Fault, InvalidData, InvalidRequest
from gyropilot.local import bases, model_folders
from gyropilot.local.bases import Base
from gyropilot.local.tuned_model import TunedModel
from gyropilot.local.working_folders import working_folder
from gyropilot.problems.text_generation import verbalizer as verbalizers
from gyropilot.settings import Settings


def from_folder(folder: Path, base_model: object, verbalizer: str | None, settings: Settings) -> TunedModel:
    """Give the model that a folder holds.

    Args:
        folder: What `save` wrote, a job's output as it was downloaded, caikit-nlp's, or an adapter folder of PEFT.
        base_model: Its base by name or folder; None: the one that the folder holds, or names.
        verbalizer: The prompt's template, of folders of others; None: what the folder says, else the input as it is.
        settings: Where base models lie.

    Raises:
        InvalidData: the folder holds no model, is not whole, or leads out of itself by links.
        InvalidRequest: the base model is not here, or is another one.
        TrainingFailed: the files do not fit together.
    """
    kind = model_folders.kind_of(folder)
    with ExitStack() as held:
        working = working_folder(settings, held)
        if kind in {"peer", "adapter"}:
            files, root = _adopted(folder, kind, base_model, verbalizer, settings, working)
        else:
            if verbalizer is not None:
                problem = "the folder has the template that the model was trained with"
                raise InvalidRequest(where="verbalizer", found=verbalizer, problem=problem, fix="leave it out")
            _check_links(folder)
            files = folder if kind == "saved" else _copied(folder, working / "model")
            root = bases_of(files, base_model, settings, working)
        return TunedModel(files, root, settings, held.pop_all()).open()


def _check_links(folder: Path) -> None:
    """Raise InvalidData where a link would bring another file of this machine into what is copied and saved."""
    links = sorted(path for path in folder.rglob("*") if path.is_symlink())
    if links:
        fix = "put the file itself in its place, or remove it"
        raise InvalidData.of(Fault(where=str(path), problem="is a link", fix=fix) for path in links)


def _copied(output: Path, files: Path) -> Path:
    """Copy what is served of a job's output, which stays as it is."""
    copy = files.parent / "output"
    shutil.copytree(output, copy, ignore=shutil.ignore_patterns("*.tar.gz"))
    model_folders.lay_out(copy, files, shares_base=False, tuning=None)
    return files


def bases_of(files: Path, base_model: object, settings: Settings, working: Path) -> Path:
    """Give the store in which the model's base is looked for, once it is seen that it is there."""
    serving = model_folders.read_json(files, model_folders.SERVING)
    name, digest = str(serving.get("base_model", "")), serving.get("base_model_digest")
    if model_folders.has_weights(files) and base_model is None:
        return settings.base_models
    if base_model is not None:
        base = bases.base_of(base_model, settings, working, where="base_model", name=name)
    elif (files / model_folders.BASES / name).is_dir():
        return files / model_folders.BASES
    else:
        base = Base(name=name, root=settings.base_models)
    found = BaseModelStore(base.root, allow_downloads=False).find(base.name)
    if found is None:
        fix = f"gyropilot models pull {name}, or name its folder: load(..., base_model=...)"
        raise InvalidRequest(where="base_model", found=base.name, problem="is not installed", fix=fix)
    if found.digest != digest and not model_folders.has_weights(files):
        problem = f"is another model than the {name} that was tuned: its files have another digest"
        raise InvalidRequest(where="base_model", found=base.name, problem=problem, fix=f"name that {name}")
    return base.root


def _adopted(
    folder: Path,
    kind: model_folders.Kind,
    base_model: object,
    verbalizer: str | None,
    settings: Settings,
    working: Path,
) -> tuple[Path, Path]:
    from gyropilot.local import foreign_folders

    faults = [] if verbalizer is None else list(verbalizers.faults(verbalizer, where="verbalizer"))
    if faults:
        raise InvalidRequest.of(faults)
    said = foreign_folders.name_of_base(folder, kind)
    base = bases.base_of(_named(said) if base_model is None else base_model, settings, working, where="base_model")
    if base.store.find(base.name) is None:
        problem = f"is not installed; the folder says that its base is {said or 'none'}"
        fix = "name the base: load(..., base_model=...), by a name that `gyropilot models list` shows, or by a folder"
        raise InvalidRequest(where="base_model", found=base.name, problem=problem, fix=fix)
    files = working / "model"
    adopt = foreign_folders.adopt_peer if kind == "peer" else foreign_folders.adopt_adapter
    adopt(folder, files, base, verbalizer=verbalizer)
    return files, base.root


def _named(said: str) -> str:
    """Give a base as a folder names it, which may be a path of another machine: then its last part."""
    if not said:
        raise InvalidData(where="base_model", problem="is not named in the folder", fix="load(..., base_model=...)")
    known = {one.hub_id: one.name for one in catalog.CATALOG}
    return known.get(said, said if Path(said).is_dir() or "/" not in said else Path(said).name)
