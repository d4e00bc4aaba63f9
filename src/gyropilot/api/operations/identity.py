"""Operations of sts: who a caller is."""

from __future__ import annotations

from typing import Any

from gyropilot import names
from gyropilot.control.entrance import Caller
from gyropilot.control.house import House

Json = Any


def get_caller_identity(house: House, caller: Caller, request: dict[str, Json]) -> dict[str, Json]:
    """Say whose access key signed the call."""
    principal = caller.principal
    return {
        "UserId": principal.access_key_id,
        "Account": principal.account_id,
        "Arn": names.user_arn(principal.account_id, principal.name),
    }
