"""Tells a create that a client sends again, since it heard no answer, from another one of the same name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from gyropilot.store.principals import Principal

Json = Any


def mark_of(principal: Principal, invocation_id: str | None, request: Mapping[str, Json]) -> str | None:
    """Give a text that only the same call has: of one key, with one id, for one request; None without an id."""
    if invocation_id is None:
        return None
    told = json.dumps([principal.access_key_id, invocation_id, request], sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()
