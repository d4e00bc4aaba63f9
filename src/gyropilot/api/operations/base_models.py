"""Operations beyond the service's API that show the base-model store."""

from __future__ import annotations

from typing import Any

from gyropilot.control import base_models
from gyropilot.control.entrance import Caller
from gyropilot.control.house import House

Json = Any


def list_base_models(house: House, caller: Caller, request: dict[str, Json]) -> dict[str, Json]:
    """List the base models that a job may name."""
    return base_models.list_models(house)
