"""Says why a job may not use a base model: unknown name, licence not accepted, weights absent or damaged."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path

from gyropilot.base_models import catalog, records
from gyropilot.base_models.catalog import WheelSource
from gyropilot.base_models.records import InstalledModel
from gyropilot.errors import Fault, InvalidData

Installed = Callable[[], Sequence[InstalledModel]]

_CONFIG = "AutoMLProblemTypeConfig.TextGenerationJobConfig"
_NAME = f"{_CONFIG}.BaseModelName"


def faults(name: str, folder: Path, installed: Installed, *, accept_eula: bool) -> list[Fault]:
    """Give every fault of naming this model in a request, under the request's field; contents are not read.

    Args:
        name: as the request has it.
        folder: where the model would be installed.
        installed: gives the installed models; asked only for the hint at a near name.
        accept_eula: ModelAccessConfig.AcceptEula.
    """
    facts = catalog.find(name)
    if facts is None and not folder.is_dir():
        return [unknown(name, installed)]
    found = []
    if facts is not None and facts.needs_eula and not accept_eula:
        found.append(
            Fault(
                where=f"{_CONFIG}.ModelAccessConfig.AcceptEula",
                problem=f"{name} is under the licence {facts.licence!r}, which must be accepted first",
                fix="read the licence, then set AcceptEula to true",
            )
        )
    return found + (_damages(folder) if folder.is_dir() else [_absent(name)])


def unknown(name: str, installed: Installed) -> Fault:
    """Give the fault of a name that nobody knows, with the nearest one that is known."""
    known = [model.name for model in catalog.CATALOG] + [model.name for model in installed()]
    by_folded = {one.casefold(): one for one in known}
    near = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    hint = f"did you mean {by_folded[near[0]]}? " if near else ""
    return Fault(
        where=_NAME,
        found=name,
        problem="is no known base model",
        fix=f"{hint}`gyropilot models list` shows all names; `gyropilot models add NAME FOLDER` registers your own",
    )


def _absent(name: str) -> Fault:
    facts = catalog.find(name)
    fix = f"install it: gyropilot models pull {name}"
    if facts is not None and not any(isinstance(source, WheelSource) for source in facts.sources):
        fix = (
            f"register a folder with {facts.hub_id}: gyropilot models add {name} FOLDER; "
            f"or fetch it: ALLOW_DOWNLOADS=true gyropilot models pull {name}"
        )
    return Fault(where=_NAME, found=name, problem="the weights of this model are not here", fix=fix)


def _damages(folder: Path) -> list[Fault]:
    try:
        found = records.size_faults(records.read(folder))
    except InvalidData as error:
        found = list(error.faults)
    return [Fault(where=_NAME, problem=str(fault)) for fault in found]
