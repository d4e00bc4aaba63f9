"""Who makes a call, as operations are told."""

from __future__ import annotations

from dataclasses import dataclass

from gyropilot.store.principals import Principal


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who calls, proven by the signature; `invocation_id` names one call over its retries."""

    principal: Principal
    invocation_id: str | None
    region: str
