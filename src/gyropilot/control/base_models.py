"""What callers may see of the base-model store."""

from __future__ import annotations

from typing import Any

from gyropilot.base_models.catalog import CATALOG
from gyropilot.control.house import House

Json = Any


def list_models(house: House) -> dict[str, Json]:
    """Give ListBaseModelsResponse: the catalog's names and the added ones, each with whether it is installed.

    StandIn is there where jobs of a name train another model.
    """
    loaded = {one.name: one.loaded for one in house.base_models.stand_ins()}
    installed = {one.name: one for one in house.base_models.installed()}
    known = {model.name: model for model in CATALOG}
    return {
        "BaseModels": [
            {
                "Name": name,
                "Installed": name in installed,
                "Architecture": known[name].architecture if name in known else "",
                "Licence": known[name].licence if name in known else installed[name].licence,
                "NeedsEula": known[name].needs_eula if name in known else False,
                **({"StandIn": loaded[name]} if name in loaded else {}),
            }
            for name in [*known, *sorted(installed.keys() - known.keys())]
        ]
    }
